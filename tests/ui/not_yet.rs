//! What is not offered yet says so, and what to write instead.

use audit_diesel::{Auditable, audited};
use diesel::prelude::*;
use diesel::upsert::excluded;

diesel::table! { users (id) { id -> Integer, name -> Text } }

#[derive(Queryable, Auditable)]
#[diesel(table_name = users)]
struct User {
    id: i32,
    name: String,
}

fn upsert(conn: &mut PgConnection) {
    let _ = audited::insert_into(users::table)
        .values((users::id.eq(1), users::name.eq("a")))
        .on_conflict(users::id)
        .do_update()
        .set(users::name.eq(excluded(users::name)))
        .execute(conn);
}

fn replace(conn: &mut SqliteConnection) {
    let _ = audited::replace_into(users::table)
        .values((users::id.eq(1), users::name.eq("a")))
        .execute(conn);
}

fn main() {}
