//! A model that Diesel cannot load: the field is named, with its type and the column's, and nothing
//! else is said, though the model is used all over.

use audit_diesel::{Auditable, audited};
use diesel::pg::PgConnection;
use diesel::prelude::*;
use diesel::sqlite::SqliteConnection;

diesel::table! {
    users (id) {
        id -> Integer,
        name -> Text,
        nick -> Nullable<Text>,
        age -> BigInt,
        street -> Text,
        zip -> Text,
    }
}

#[derive(Queryable, Selectable, Auditable)]
#[diesel(table_name = users)]
struct User {
    id: i32,
    // Not the column's type.
    name: i64,
    // May be NULL.
    nick: String,
    #[diesel(deserialize_as = i32)]
    age: Age,
    #[diesel(embed)]
    address: Address,
}

#[derive(PartialEq, serde::Serialize)]
struct Age(i64);

impl From<i32> for Age {
    fn from(age: i32) -> Self {
        Self(age.into())
    }
}

#[derive(Queryable, Selectable, Auditable)]
#[diesel(table_name = users)]
#[audit(embedded)]
struct Address {
    street: String,
    zip: i32,
}

fn on_postgres(conn: &mut PgConnection) -> QueryResult<()> {
    audited::insert_into(users::table).values(users::name.eq("a")).execute(conn)?;
    audited::update(users::table.find(1)).set(users::name.eq("a")).execute(conn)?;
    audited::delete(users::table.find(1)).execute(conn)?;
    Ok(())
}

fn on_sqlite(conn: &mut SqliteConnection) -> QueryResult<()> {
    audited::insert_into(users::table).values(users::name.eq("a")).execute(conn)?;
    audited::update(users::table.find(1)).set(users::name.eq("a")).execute(conn)?;
    audited::delete(users::table.find(1)).execute(conn)?;
    Ok(())
}

fn main() {}
