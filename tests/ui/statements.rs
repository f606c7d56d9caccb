//! Statements that cannot be audited as they stand.

use audit_diesel::{Auditable, audited};
use diesel::prelude::*;

diesel::table! { users (id) { id -> Integer, name -> Text } }
diesel::table! { orders (id) { id -> Integer, title -> Text } }

#[derive(Queryable, Auditable)]
#[diesel(table_name = users)]
struct User {
    id: i32,
    name: String,
}

fn main() {
    let _ = audited::insert_into(orders::table).values(orders::title.eq("no model"));
    let _ = audited::update(orders::table.find(1)).set(orders::title.eq("no model"));
    let _ = audited::delete(orders::table.find(1));
    let _ = audited::update(users::table).set(orders::title.eq("of another table"));
}
