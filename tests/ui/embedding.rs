//! What embeds and what is embedded.

use audit_diesel::Auditable;

diesel::table! { orders (id) { id -> Integer, city -> Text, zip -> Text } }
diesel::table! { others (id) { id -> Integer, city -> Text } }

struct NotDerived {
    city: String,
}

#[derive(Auditable)]
#[diesel(table_name = orders, primary_key(zip))]
#[audit(embedded, resource = "zip")]
struct Zip {
    zip: String,
}

#[derive(Auditable)]
#[diesel(table_name = orders)]
struct Order {
    id: i32,
    #[diesel(embed)]
    #[audit(redact)]
    zip: Zip,
}

#[derive(Auditable)]
#[diesel(table_name = others)]
struct OtherOrder {
    id: i32,
    #[diesel(embed)]
    city: NotDerived,
}

fn main() {}
