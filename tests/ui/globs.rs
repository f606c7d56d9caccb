//! Two globs that both hold `update`: which one is meant must not be left to their order.

#![deny(ambiguous_glob_imports)]

use audit_diesel::Auditable;
use audit_diesel::audited::*;
use diesel::*;

table! { users (id) { id -> Integer, name -> Text } }

#[derive(Queryable, Auditable)]
#[diesel(table_name = users)]
struct User {
    id: i32,
    name: String,
}

fn main() {
    let _ = update(users::table).set(users::name.eq("a"));
}
