use std::collections::BTreeMap;
use std::fmt::Write;

use audit_core::{MemoryQueue, Outcome, Record};

use crate::auditor::{AuditedBackend, Auditor, AuditorBuilder};
use crate::connection::AuditedConnection;
use crate::delivery::Delivery;

/// An auditor that keeps its records in memory, for an application's own tests.
///
/// It sees the records of transactions that were committed, and those that wait in a connection's
/// open transaction: so it works inside Diesel's `begin_test_transaction`, which never commits.
///
/// ```
/// # #[cfg(feature = "sqlite")]
/// # mod example {
/// # use audit_diesel::{Actor, AuditContext, Auditable, audited};
/// # use diesel::prelude::*;
/// # diesel::table! { users (id) { id -> Integer, role -> Text, } }
/// # #[derive(Queryable, Selectable, Identifiable, Auditable)]
/// # #[diesel(table_name = users)]
/// # struct User { id: i32, role: String }
/// # pub fn main() {
/// use audit_diesel::testing::TestAudit;
///
/// let conn = &mut SqliteConnection::establish(":memory:").unwrap();
/// let audit = TestAudit::attached_to(conn);
/// # diesel::sql_query("CREATE TABLE users (id integer NOT NULL PRIMARY KEY, role text NOT NULL)").execute(conn).unwrap();
/// # diesel::sql_query("INSERT INTO users VALUES (7, 'member')").execute(conn).unwrap();
/// conn.begin_test_transaction().unwrap();
///
/// AuditContext::new(Actor::user("42")).scope(|| {
///     audited::update(users::table.find(7)).set(users::role.eq("admin")).execute(conn).unwrap();
/// });
///
/// audit.assert_trail(conn, &[r#"user:42 update users 7: role "member" → "admin""#]);
/// # }
/// # }
/// # #[cfg(feature = "sqlite")]
/// # example::main();
/// ```
#[derive(Debug, Clone)]
pub struct TestAudit {
    auditor: Auditor,
    queue: MemoryQueue,
}

impl TestAudit {
    /// An auditor with an empty trail, attached to nothing yet: use
    /// [`auditor`](Self::auditor)`().customizer()` for a pool.
    #[expect(
        clippy::new_without_default,
        reason = "an auditor is set up on purpose"
    )]
    pub fn new() -> Self {
        Self::of(Auditor::builder())
    }

    /// As [`new`](Self::new), with settings of your own, such as
    /// `Auditor::builder().schema(&SCHEMA)` for the guard.
    ///
    /// # Panics
    ///
    /// When the settings are no valid ones, or name Redis or a journal.
    #[track_caller]
    #[expect(clippy::expect_used, reason = "this is for tests")]
    pub fn of(settings: AuditorBuilder) -> Self {
        let queue = MemoryQueue::new();
        let settings = settings.delivery_for_all(Delivery::AfterCommit);
        let auditor = settings.queue(queue.clone()).build();
        let auditor = auditor.expect("valid settings, without Redis or a journal");
        Self { auditor, queue }
    }

    /// An auditor attached to this connection.
    pub fn attached_to<C>(conn: &mut C) -> Self
    where
        C: AuditedConnection,
        C::Backend: AuditedBackend,
    {
        let audit = Self::new();
        audit.auditor.attach(conn);
        audit
    }

    /// The auditor, to attach to connections and to record events with.
    pub fn auditor(&self) -> &Auditor {
        &self.auditor
    }

    /// The records whose transactions were committed, oldest first.
    ///
    /// # Panics
    ///
    /// When something else than the auditor put what is no record into its queue.
    #[expect(clippy::expect_used, reason = "this is for tests")]
    pub fn committed(&self) -> Vec<Record> {
        self.queue.records().expect("the queue holds records only")
    }

    /// The records whose transactions were committed, then those that wait in this connection's
    /// open transaction.
    ///
    /// # Panics
    ///
    /// When the auditor is not attached to the connection.
    #[expect(clippy::expect_used, reason = "this is for tests")]
    pub fn records<C: AuditedConnection>(&self, conn: &mut C) -> Vec<Record> {
        let pending = self.auditor.pending(conn);
        let mut records = self.committed();
        records.extend(pending.expect("attach this auditor to the connection first"));
        records
    }

    /// Asserts that the records of [`records`](Self::records) are these, as [`line()`] writes them.
    ///
    /// # Panics
    ///
    /// When they are not: with what is missing (`-`) and what is there instead (`+`).
    #[track_caller]
    pub fn assert_trail<C: AuditedConnection>(&self, conn: &mut C, expected: &[&str]) {
        let actual: Vec<String> = self.records(conn).iter().map(line).collect();
        assert!(actual == expected, "{}", difference(expected, &actual));
    }
}

/// A record in one line, without what differs from run to run:
/// `user:42 update users 7: role "member" → "admin", api_token redacted`.
pub fn line(record: &Record) -> String {
    let actor = record.context.actor_ref();
    let mut line = actor.map_or_else(|| "-".to_owned(), ToString::to_string);
    for part in [
        Some(&record.action),
        record.resource_type.as_ref(),
        record.resource_id.as_ref(),
    ] {
        line.push(' ');
        line.push_str(part.map_or("-", String::as_str));
    }
    if record.outcome != Outcome::Success {
        line.push_str(" (");
        line.push_str(record.outcome.as_str());
        line.push(')');
    }
    let fields = changed_fields(record);
    if !fields.is_empty() {
        line.push_str(": ");
        line.push_str(&fields.join(", "));
    }
    line
}

/// `role "member" → "admin"` for each field, in the order of the model.
fn changed_fields(record: &Record) -> Vec<String> {
    let Some(changes) = &record.changes else {
        return Vec::new();
    };
    let fields = changes.fields().into_iter();
    fields
        .map(
            |(field, sides)| match (sides.get("old"), sides.get("new")) {
                (Some(old), Some(new)) => format!("{field} {old} → {new}"),
                (Some(only), None) | (None, Some(only)) => format!("{field} {only}"),
                (None, None) => format!("{field} {}", notes(&sides)),
            },
        )
        .collect()
}

/// What stands in place of values: `redacted`, or `omitted_bytes 9000`.
fn notes(sides: &BTreeMap<String, String>) -> String {
    let notes: Vec<String> = sides
        .iter()
        .map(|(name, value)| match value.as_str() {
            "true" => name.clone(),
            value => format!("{name} {value}"),
        })
        .collect();
    notes.join(" ")
}

/// The longest common lines stay, the others are marked.
fn difference(expected: &[&str], actual: &[String]) -> String {
    let mut text = String::from("the trail is not as expected (- missing, + instead):\n");
    let (mut e, mut a) = (0, 0);
    while e < expected.len() || a < actual.len() {
        let same = e < expected.len() && a < actual.len() && expected[e] == actual[a];
        let later = |line: &str| actual[a..].iter().any(|other| other == line);
        let (mark, line) = if same {
            (' ', expected[e])
        } else if e < expected.len() && !later(expected[e]) {
            ('-', expected[e])
        } else {
            ('+', actual[a].as_str())
        };
        // Writing to a string cannot fail.
        let _ = writeln!(text, "  {mark} {line}");
        e += usize::from(mark != '+');
        a += usize::from(mark != '-');
    }
    text
}
