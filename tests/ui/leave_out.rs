//! Columns that are left out and cannot be.

use audit_diesel::Auditable;

diesel::table! { users (id) { id -> Integer, name -> Text, note -> Text } }
diesel::table! { orders (id) { id -> Integer, note -> Text } }
diesel::table! { others (id) { id -> Integer } }

#[derive(Auditable)]
#[diesel(table_name = users)]
#[audit(leave_out(name, note, note))]
struct User {
    id: i32,
    name: String,
}

#[derive(Auditable)]
#[diesel(table_name = others)]
#[audit(leave_out = "id")]
struct Other {
    id: i32,
}

#[derive(Auditable)]
#[diesel(table_name = orders)]
#[audit(embedded, leave_out(id))]
struct Part {
    note: String,
}

fn main() {}
