//! Without `table_name` the table is the one that Diesel assumes, and it is not there.

use audit_diesel::Auditable;

diesel::table! { people (id) { id -> Integer, name -> Text } }

#[derive(Auditable)]
struct Person {
    id: i32,
    name: String,
}

fn main() {}
