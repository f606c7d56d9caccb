//! RETURNING returns something of each row, and an aggregate is of all of them.

use audit_diesel::{Auditable, audited};
use diesel::dsl::{count, count_star, max};
use diesel::prelude::*;

diesel::table! { users (id) { id -> Integer, name -> Text } }

#[derive(Queryable, Auditable)]
#[diesel(table_name = users)]
struct User {
    id: i32,
    name: String,
}

fn main() {
    let _ = audited::update(users::table).set(users::name.eq("a")).returning(count(users::id));
    let _ = audited::delete(users::table).returning(max(users::id));
    let _ = audited::insert_into(users::table).values(users::name.eq("a")).returning(count_star());
}
