//! A model without `Queryable` can be written, and not be loaded.

use audit_diesel::{Auditable, audited};
use diesel::pg::PgConnection;
use diesel::prelude::*;
use diesel::sqlite::SqliteConnection;

diesel::table! { users (id) { id -> Integer, name -> Text } }

#[derive(Auditable)]
#[diesel(table_name = users)]
struct User {
    id: i32,
    name: String,
}

fn written(conn: &mut PgConnection) -> QueryResult<usize> {
    audited::update(users::table.find(1)).set(users::name.eq("a")).execute(conn)
}

fn loaded_on_postgres(conn: &mut PgConnection) -> QueryResult<User> {
    audited::update(users::table.find(1)).set(users::name.eq("a")).get_result(conn)
}

fn loaded_on_sqlite(conn: &mut SqliteConnection) -> QueryResult<Vec<User>> {
    audited::delete(users::table).get_results::<User>(conn)
}

fn main() {}
