//! SQLite takes any value in any column: each is recorded as far as it can be told, and its record
//! names the row.

use audit_diesel::{Auditable, audited};
use chrono::NaiveDateTime;
use diesel::deserialize::{self, FromSql, FromSqlRow};
use diesel::prelude::*;
use diesel::sql_types::Text;
use diesel::sqlite::{Sqlite, SqliteValue};
use serde::Serialize;
use serde_json::Value;

use super::cases::{Pooled, new_trail, run, sorted_trail};
use super::{App, Conn, app};

diesel::table! {
    tenants (id) {
        id -> Integer,
        plan -> Text,
        count -> Integer,
        rate -> Double,
        seen -> Timestamp,
        settings -> Json,
        note -> Nullable<Text>,
        token -> Text,
        avatar -> Binary,
    }
}

#[derive(Debug, PartialEq, Serialize, FromSqlRow)]
enum Plan {
    Free,
    Paid,
}

impl FromSql<Text, Sqlite> for Plan {
    fn from_sql(value: SqliteValue<'_, '_, '_>) -> deserialize::Result<Self> {
        let text = <String as FromSql<Text, Sqlite>>::from_sql(value)?;
        match text.as_str() {
            "free" => Ok(Self::Free),
            "paid" => Ok(Self::Paid),
            _ => Err("a plan that this version does not know".into()),
        }
    }
}

#[derive(Debug, Queryable, Identifiable, Auditable)]
#[diesel(table_name = tenants)]
struct Tenant {
    id: i32,
    plan: Plan,
    count: i32,
    rate: f64,
    seen: NaiveDateTime,
    settings: Value,
    note: Option<String>,
    #[audit(redact)]
    token: String,
    #[audit(skip)]
    #[allow(dead_code)]
    avatar: Vec<u8>,
}

const TABLE: &str = r#"
    CREATE TABLE tenants (
        id integer PRIMARY KEY,
        plan text NOT NULL DEFAULT 'free',
        count integer NOT NULL DEFAULT 1,
        rate real NOT NULL DEFAULT 1,
        seen timestamp NOT NULL DEFAULT '2026-01-01 00:00:00',
        settings json NOT NULL DEFAULT '{}',
        note text,
        token text NOT NULL DEFAULT '',
        avatar blob NOT NULL DEFAULT ''
    );
    INSERT INTO tenants (id) VALUES (1), (2);
"#;

fn tenants() -> (App, Pooled) {
    let app = app();
    let mut conn = app.pool.get().unwrap();
    run(&mut conn, TABLE);
    (app, conn)
}

/// Updates tenant 1 to what the types of the model could not send, and says what the trail has of it.
fn change(app: &App, conn: &mut Conn, assignments: &str) -> Vec<String> {
    let set = diesel::dsl::sql::<diesel::sql_types::Nullable<Text>>;
    let assignments = format!("NULL, {assignments}");
    let count = audited::update(tenants::table.find(1))
        .set(tenants::note.eq(set(&assignments)))
        .execute(conn);
    assert_eq!(count, Ok(1));
    let trail = new_trail(app).into_iter();
    let changes = trail.map(|line| {
        let changes = line.strip_prefix("update tenants 1 ").map(str::to_owned);
        changes.unwrap_or_else(|| panic!("{line}"))
    });
    changes.collect()
}

#[test]
fn an_unknown_label_is_recorded_as_the_databases_text() {
    let (app, conn) = &mut tenants();
    assert_eq!(
        change(app, conn, "plan = 'archived', count = 2"),
        [
            r#"{"plan":{"old":"Free","new":"archived","unreadable":["new"]},"count":{"old":1,"new":2}}"#
        ]
    );
    assert_eq!(
        change(app, conn, "plan = 'paid', token = 'x'"),
        [
            r#"{"plan":{"old":"archived","new":"Paid","unreadable":["old"]},"token":{"redacted":true}}"#
        ]
    );
}

#[test]
fn a_number_is_recorded_as_the_database_has_it_and_not_as_it_is_converted() {
    let (app, conn) = &mut tenants();
    assert_eq!(
        change(app, conn, "count = 'many'"),
        [r#"{"count":{"old":1,"new":"many","unreadable":["new"]}}"#]
    );
    // Diesel reads both as 0.
    assert_eq!(
        change(app, conn, "count = 'few'"),
        [r#"{"count":{"old":"many","new":"few","unreadable":["old","new"]}}"#]
    );
    assert_eq!(
        change(app, conn, "count = 8589934593"),
        [r#"{"count":{"old":"few","new":"8589934593","unreadable":["old","new"]}}"#]
    );
    assert_eq!(
        change(app, conn, "count = 1, rate = 9e999"),
        [
            r#"{"count":{"old":"8589934593","new":1,"unreadable":["old"]},"rate":{"old":1.0,"new":"Infinity"}}"#
        ]
    );
}

#[test]
fn a_time_that_is_none_is_recorded_as_the_databases_text() {
    let (app, conn) = &mut tenants();
    assert_eq!(
        change(app, conn, "seen = 'yesterday'"),
        [r#"{"seen":{"old":"2026-01-01T00:00:00","new":"yesterday","unreadable":["new"]}}"#]
    );
    change(app, conn, "seen = '2026-01-01 00:00:00'");
    assert_eq!(
        change(app, conn, "seen = '2026-01-01T00:00:00'"),
        [r#"{"seen":{"old":"2026-01-01T00:00:00","new":"2026-01-01T00:00:00","indistinct":true}}"#]
    );
}

#[test]
fn a_change_beyond_the_digits_of_a_type_is_recorded_with_all_digits() {
    let (app, conn) = &mut tenants();
    change(app, conn, r#"settings = '{"n": 12345678901234567890.25}'"#);
    assert_eq!(
        change(app, conn, r#"settings = '{"n": 12345678901234567890.5}'"#),
        [
            r#"{"settings":{"old":{"n": 12345678901234567890.25},"new":{"n": 12345678901234567890.5}}}"#
        ]
    );
}

#[test]
fn what_stays_as_it_is_stored_is_no_change() {
    let (app, conn) = &mut tenants();
    // The column makes a real of it.
    assert!(change(app, conn, "rate = 1, count = '1'").is_empty());
    assert!(change(app, conn, "plan = x'66726565', plan = 'free'").is_empty());
}

#[test]
fn bytes_in_a_column_of_text_are_marked_and_not_shown() {
    let (app, conn) = &mut tenants();
    assert_eq!(
        change(app, conn, "plan = x'ff00', count = 2"),
        [r#"{"plan":{"old":"Free","unreadable":["new"]},"count":{"old":1,"new":2}}"#]
    );
    assert_eq!(
        change(app, conn, "plan = x'ff01'"),
        [r#"{"plan":{"unreadable":["old","new"]}}"#]
    );
}

#[test]
fn inserted_and_deleted_rows_are_recorded_though_they_cannot_be_read() {
    let (app, conn) = &mut tenants();
    let count = audited::insert_into(tenants::table)
        .values((tenants::id.eq(3), tenants::plan.eq("archived")))
        .execute(conn);
    assert_eq!(count, Ok(1));
    assert_eq!(audited::delete(tenants::table.find(3)).execute(conn), Ok(1));
    let [inserted, deleted] = &new_trail(app)[..] else {
        panic!("two records")
    };
    let plan = r#""plan":{"new":"archived","unreadable":["new"]}"#;
    assert!(inserted.starts_with("insert tenants 3 "), "{inserted}");
    assert!(inserted.contains(plan), "{inserted}");
    assert!(deleted.starts_with("delete tenants 3 "), "{deleted}");
    assert!(deleted.contains(&plan.replace("new", "old")), "{deleted}");
}

diesel::table! {
    labels (name) {
        name -> Text,
        count -> Integer,
    }
}

#[derive(Debug, Queryable, Identifiable, Auditable)]
#[diesel(table_name = labels, primary_key(name))]
struct Label {
    name: String,
    count: i32,
}

/// SQLite lets a key be NULL, also in several rows.
#[test]
fn rows_whose_key_is_null_are_recorded_and_never_taken_for_one_another() {
    let (app, conn) = &mut tenants();
    run(
        conn,
        "CREATE TABLE labels (name text PRIMARY KEY, count integer NOT NULL);
         INSERT INTO labels VALUES (NULL, 1), (NULL, 2), ('a', 3);",
    );
    let count = audited::update(labels::table)
        .set(labels::count.eq(labels::count + 10))
        .execute(conn);
    assert_eq!(count, Ok(3));
    let unpaired = app.records();
    let unpaired = unpaired
        .iter()
        .filter(|it| it.extra.contains_key("unpaired"));
    assert_eq!(unpaired.count(), 2);
    assert_eq!(
        sorted_trail(app),
        [
            r#"update labels - {"name":{"new":null},"count":{"new":11}}"#,
            r#"update labels - {"name":{"new":null},"count":{"new":12}}"#,
            r#"update labels a {"count":{"old":3,"new":13}}"#,
        ]
    );
}
