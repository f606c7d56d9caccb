//! Delivery modes are named, and said of a table's model.

use audit_diesel::Auditable;

diesel::table! { users (id) { id -> Integer, email -> Text } }

#[derive(Auditable)]
#[diesel(table_name = users)]
#[audit(delivery = "eventually")]
struct User {
    id: i32,
    #[audit(delivery = "transactional")]
    email: String,
}

#[derive(Auditable)]
#[diesel(table_name = users)]
#[audit(embedded, delivery = "transactional")]
struct Part {
    email: String,
}

fn main() {}
