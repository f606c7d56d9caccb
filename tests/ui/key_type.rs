//! A key that cannot be serialised.

use audit_diesel::Auditable;

diesel::table! { users (id) { id -> Integer, name -> Text } }

#[derive(PartialEq)]
struct UserId(i32);

#[derive(Auditable)]
#[diesel(table_name = users)]
struct User {
    id: UserId,
    name: String,
}

fn main() {}
