//! An update pairs rows by the model's key, so PostgreSQL is asked whether that key tells them apart.

use audit_diesel::{AuditError, Auditable, audited};
use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use diesel::result::QueryResult;

use super::{Conn, app};

diesel::table! { things (id) { id -> Integer, name -> Text, n -> BigInt } }

#[derive(Debug, Clone, PartialEq, Queryable, Selectable, Auditable)]
#[diesel(table_name = things)]
struct Thing {
    id: i32,
    name: String,
    n: i64,
}

const COLUMNS: &str = "id int, name text NOT NULL, n bigint NOT NULL";
const TWO_ROWS: &str = "INSERT INTO things VALUES (1, 'x', 0), (1, 'y', 5)";

fn update_x(conn: &mut Conn) -> QueryResult<usize> {
    audited::update(things::table.filter(things::name.eq("x")))
        .set(things::n.eq(things::n + 1))
        .execute(conn)
}

fn refused(sql: &str) {
    let app = app();
    let conn = &mut app.pool.get().unwrap();
    conn.batch_execute(sql).unwrap();
    let before: Vec<Thing> = things::table.order(things::n).load(conn).unwrap();
    let error = update_x(conn).unwrap_err();
    assert!(
        matches!(
            AuditError::of(&error),
            Some(AuditError::KeyNotUnique { table, key }) if table == r#""things""# && key == "id"
        ),
        "{sql}: {error}"
    );
    let after: Vec<Thing> = things::table.order(things::n).load(conn).unwrap();
    assert_eq!(before, after);
    assert_eq!(app.trail(), [""; 0]);
}

fn accepted(sql: &str) {
    let app = app();
    let conn = &mut app.pool.get().unwrap();
    conn.batch_execute(sql).unwrap();
    assert_eq!(update_x(conn), Ok(1), "{sql}");
    assert_eq!(update_x(conn), Ok(1), "{sql}");
    assert_eq!(app.trail().len(), 2);
}

#[test]
fn a_key_that_does_not_tell_rows_apart_is_refused() {
    refused(&format!("CREATE TABLE things ({COLUMNS}); {TWO_ROWS}"));
    refused(&format!(
        "CREATE TABLE things ({COLUMNS}, PRIMARY KEY (id, n)); {TWO_ROWS}"
    ));
    refused(&format!(
        "CREATE TABLE things ({COLUMNS}, PRIMARY KEY (id, n)) PARTITION BY RANGE (n);
         CREATE TABLE p1 PARTITION OF things DEFAULT; {TWO_ROWS}"
    ));
    refused(&format!(
        "CREATE TABLE things ({COLUMNS});
         CREATE UNIQUE INDEX ON things (id) WHERE n > 0; {TWO_ROWS}"
    ));
}

/// However good the key is of the table behind it: that another column has its name is not to be seen.
#[test]
fn views_are_refused() {
    refused(&format!(
        "CREATE TABLE base ({COLUMNS}, PRIMARY KEY (id));
         CREATE VIEW things AS SELECT * FROM base; INSERT INTO things VALUES (1, 'x', 0)"
    ));
}

#[test]
fn tables_that_others_inherit_from_are_refused() {
    refused(&format!(
        "CREATE TABLE things ({COLUMNS}, PRIMARY KEY (id));
         CREATE TABLE kids (PRIMARY KEY (id)) INHERITS (things);
         INSERT INTO things VALUES (1, 'x', 0); INSERT INTO kids VALUES (1, 'y', 5)"
    ));
}

/// Within a transaction two rows may have the same one.
#[test]
fn a_key_that_is_checked_at_commit_is_refused() {
    refused(&format!(
        "CREATE TABLE things ({COLUMNS}, PRIMARY KEY (id) DEFERRABLE INITIALLY DEFERRED);
         BEGIN; {TWO_ROWS}"
    ));
}

#[test]
fn a_key_that_may_be_null_is_refused() {
    let app = app();
    let conn = &mut app.pool.get().unwrap();
    conn.batch_execute(&format!(
        "CREATE TABLE things ({COLUMNS}, UNIQUE (id)); INSERT INTO things VALUES (NULL, 'x', 0)"
    ))
    .unwrap();
    let error = update_x(conn).unwrap_err();
    assert!(AuditError::of(&error).is_some(), "{error}");
}

#[test]
fn keys_that_tell_rows_apart_are_accepted() {
    let row = "INSERT INTO things VALUES (1, 'x', 0)";
    accepted(&format!(
        "CREATE TABLE things ({COLUMNS}, PRIMARY KEY (id)); {row}"
    ));
    accepted(&format!(
        "CREATE TABLE things ({COLUMNS});
         ALTER TABLE things ALTER id SET NOT NULL;
         CREATE UNIQUE INDEX ON things (id) INCLUDE (name); {row}"
    ));
    accepted(&format!(
        "CREATE TABLE things ({COLUMNS}, PRIMARY KEY (id)) PARTITION BY HASH (id);
         CREATE TABLE p1 PARTITION OF things FOR VALUES WITH (MODULUS 1, REMAINDER 0); {row}"
    ));
}

#[test]
fn a_missing_table_is_diesels_error() {
    let app = app();
    let error = update_x(&mut app.pool.get().unwrap()).unwrap_err();
    assert!(error.to_string().contains("does not exist"), "{error}");
}
