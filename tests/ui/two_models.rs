//! Two models for one table: which of them records a write could not be told.

use audit_diesel::Auditable;

diesel::table! { users (id) { id -> Integer, name -> Text } }
diesel::table! { orders (id) { id -> Integer } }

#[derive(Auditable)]
#[diesel(table_name = users)]
struct User {
    id: i32,
    name: String,
}

#[derive(Auditable)]
#[diesel(table_name = users)]
struct UserName {
    id: i32,
    name: String,
}

fn main() {}
