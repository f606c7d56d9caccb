//! A field without a column is reported once.

use audit_diesel::Auditable;

diesel::table! { users (id) { id -> Integer, name -> Text } }

#[derive(Auditable)]
#[diesel(table_name = users)]
struct User {
    id: i32,
    nmae: String,
}

fn main() {}
