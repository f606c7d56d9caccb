//! A column that is left out and is not there.

use audit_diesel::Auditable;

diesel::table! { orders (id) { id -> Integer, note -> Text } }

#[derive(Auditable)]
#[diesel(table_name = orders)]
#[audit(leave_out(not))]
struct Order {
    id: i32,
}

fn main() {}
