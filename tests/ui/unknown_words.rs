//! Each unknown word is named, with what was probably meant and all that there is.

use audit_diesel::Auditable;

diesel::table! { users (id) { id -> Integer, email -> Text, token -> Text, note -> Text } }

#[derive(Auditable)]
#[diesel(table_name = users)]
#[audit(resorce = "user", redact)]
struct User {
    id: i32,
    #[audit(redakt)]
    token: String,
    #[audit(ignore)]
    email: String,
    #[audit(resource = "x", frobnicate = HashMap<K, V>, touch)]
    note: String,
}

fn main() {}
