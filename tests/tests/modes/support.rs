//! Tables whose models choose a mode, and what the cases say in few words.

use audit_diesel::{Auditable, Auditor, Delivery};
use diesel::prelude::*;

diesel::table! {
    payments (id) { id -> Integer, amount -> BigInt, }
}
diesel::table! {
    notes (id) { id -> Integer, amount -> BigInt, }
}
diesel::table! {
    oddities (id) { id -> Integer, kind -> Integer, }
}

/// For both backends.
pub(crate) const TABLES: &str = "
    CREATE TABLE payments (id integer NOT NULL PRIMARY KEY, amount bigint NOT NULL);
    CREATE TABLE oddities (id integer NOT NULL PRIMARY KEY, kind integer NOT NULL);
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

pub(crate) use {assert_same, stored};
