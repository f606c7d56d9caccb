//! Tables whose models choose a mode, and what the cases say in few words.

use audit_diesel::{Auditable, Auditor, Delivery};
use diesel::backend::Backend;
use diesel::deserialize::{self, FromSql, FromSqlRow};
use diesel::prelude::*;
use diesel::sql_types::Text;
use serde::Serialize;

diesel::table! {
    payments (id) { id -> Integer, amount -> BigInt, }
}
diesel::table! {
    notes (id) { id -> Integer, amount -> BigInt, }
}
diesel::table! {
    oddities (id) { id -> Integer, kind -> Integer, }
}

diesel::table! {
    tickets (id) { id -> Integer, kind -> Text, title -> Text, }
}

/// For both backends.
pub(crate) const TABLES: &str = "
    CREATE TABLE payments (id integer NOT NULL PRIMARY KEY, amount bigint NOT NULL);
    CREATE TABLE oddities (id integer NOT NULL PRIMARY KEY, kind integer NOT NULL);
    CREATE TABLE tickets (id integer NOT NULL PRIMARY KEY, kind text NOT NULL, title text NOT NULL);
    CREATE TABLE notes (id integer NOT NULL PRIMARY KEY, amount bigint NOT NULL);
";

#[derive(Debug, PartialEq, Queryable, Selectable, Identifiable, Auditable)]
#[diesel(table_name = payments)]
#[audit(delivery = "transactional")]
pub(crate) struct Payment {
    pub(crate) id: i32,
    pub(crate) amount: i64,
}

#[derive(Debug, PartialEq, Queryable, Selectable, Identifiable, Auditable)]
#[diesel(table_name = notes)]
#[audit(delivery = "after_commit")]
pub(crate) struct Note {
    pub(crate) id: i32,
    pub(crate) amount: i64,
}

/// A model that is hard to record.
#[derive(Debug, Queryable, Selectable, Identifiable, Auditable)]
#[diesel(table_name = oddities)]
#[audit(delivery = "transactional")]
pub(crate) struct Oddity {
    id: i32,
    #[audit(with = "odd")]
    kind: i32,
}

pub(crate) const PANICS: i32 = 1;

fn odd(kind: &i32) -> i32 {
    assert_ne!(*kind, PANICS, "the user's code");
    *kind
}

/// A model that knows one kind.
#[derive(Debug, Queryable, Identifiable, Auditable)]
#[diesel(table_name = tickets)]
pub(crate) struct Ticket {
    id: i32,
    kind: Kind,
    title: String,
}

#[derive(Debug, PartialEq, Serialize, FromSqlRow)]
pub(crate) enum Kind {
    Bug,
}

impl<DB: Backend> FromSql<Text, DB> for Kind
where
    String: FromSql<Text, DB>,
{
    fn from_sql(value: DB::RawValue<'_>) -> deserialize::Result<Self> {
        match <String as FromSql<Text, DB>>::from_sql(value)?.as_str() {
            "bug" => Ok(Self::Bug),
            _ => Err("a kind that this version does not know".into()),
        }
    }
}

/// Inserts, changes and deletes a ticket of a kind that its model does not know.
macro_rules! write_unknown_ticket {
    ($conn:expr) => {{
        use crate::support::tickets;
        let values = (
            tickets::id.eq(1),
            tickets::kind.eq("wish"),
            tickets::title.eq("a"),
        );
        let inserted = audited::insert_into(tickets::table)
            .values(values)
            .execute($conn);
        let updated = audited::update(tickets::table.find(1))
            .set(tickets::title.eq("b"))
            .execute($conn);
        let deleted = audited::delete(tickets::table.find(1)).execute($conn);
        assert_eq!([inserted, updated, deleted], [Ok(1), Ok(1), Ok(1)]);
    }};
}

/// Asserts that the history of the ticket has all that can be told of it.
macro_rules! assert_history_of_unknown_ticket {
    ($history:expr) => {{
        let rows: Vec<audit_diesel::AuditLog> = $history;
        let changes: Vec<_> = rows.into_iter().map(|row| row.changes.unwrap()).collect();
        assert_eq!(
            changes,
            [
                serde_json::json!({
                    "id": {"new": 1},
                    "kind": {"new": "wish", "unreadable": ["new"]},
                    "title": {"new": "a"},
                }),
                serde_json::json!({"title": {"old": "a", "new": "b"}}),
                serde_json::json!({
                    "id": {"old": 1},
                    "kind": {"old": "wish", "unreadable": ["old"]},
                    "title": {"old": "b"},
                }),
            ]
        );
    }};
}

/// An auditor that has neither Redis nor a journal.
pub(crate) fn without_queue() -> Auditor {
    Auditor::builder()
        .delivery(Delivery::Transactional)
        .build()
        .unwrap()
}

/// The trail in the database, as `action resource_type resource_id`, in the order of its
/// transactions.
macro_rules! stored {
    ($conn:expr) => {{
        use super::trail::audit_logs;
        use audit_diesel::AuditLog;
        let rows: Vec<AuditLog> = audit_logs::table
            .select(AuditLog::as_select())
            .order((audit_logs::transaction_id, audit_logs::transaction_seq))
            .load($conn)
            .unwrap();
        rows
    }};
}

/// Asserts that the table `accounts` and the trail hold the same new rows.
macro_rules! assert_same {
    ($conn:expr, $expected:expr) => {{
        use audit_tests::app::accounts;
        let expected: &[&str] = &$expected;
        let kept: Vec<String> = accounts::table
            .select(accounts::email)
            .order(accounts::id)
            .load($conn)
            .unwrap();
        assert_eq!(kept, expected, "the table");
        let recorded: Vec<String> = crate::support::stored!($conn)
            .iter()
            .map(|row| {
                row.changes.as_ref().unwrap()["email"]["new"]
                    .as_str()
                    .unwrap()
                    .to_owned()
            })
            .collect();
        assert_eq!(recorded, expected, "the trail");
    }};
}

pub(crate) use {assert_history_of_unknown_ticket, assert_same, stored, write_unknown_ticket};
