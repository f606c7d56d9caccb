//! The guard: notices a raw write to an audited table.

mod read;
mod tables;
mod targets;
mod texts;
mod tokens;
mod watch;

pub(crate) use tables::GuardedTables;
pub(crate) use watch::{Bounds, Watch};

use audit_core::{AuditContext, Record};

/// A raw write to an audited table, or to the trail itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RawWrite {
    /// The table's name, with its schema where it has one.
    pub(crate) table: String,
    /// `INSERT`, `UPDATE`, …
    pub(crate) verb: &'static str,
    /// The statement, without its literals.
    statement: String,
}

impl RawWrite {
    /// A write whose rows the database has not told.
    pub(crate) fn unreturned(table: &str, verb: &'static str) -> Self {
        Self {
            table: table.to_owned(),
            verb,
            statement: String::new(),
        }
    }

    /// What a developer is told. The statement is shown as the panic's own place is in this library,
    /// behind Diesel.
    pub(crate) fn message(&self) -> String {
        let Self {
            table,
            verb,
            statement,
        } = self;
        if tables::is_of_trail(table) {
            return format!(
                "a raw {verb} would change what `{table}` says: records are added to the trail and \
                 never changed; wrap what removes old ones on purpose in \
                 `audit_diesel::exempt(conn, \"reason\", |conn| …)`; the statement is: {statement}"
            );
        }
        let instead = match *verb {
            "INSERT" | "COPY" | "REPLACE" => "audited::insert_into(…)",
            "UPDATE" | "MERGE" => "audited::update(…)",
            _ => "audited::delete(…)",
        };
        format!(
            "a raw {verb} would write the audited table `{table}` without a record: write \
             `{instead}` instead, or wrap work that is nobody's action in \
             `audit_diesel::exempt(conn, \"reason\", |conn| …)`; the statement is: {statement}"
        )
    }

    /// The trace that is left in production.
    pub(crate) fn record(&self, context: AuditContext) -> Record {
        let mut record = Record::new("unaudited_write", context);
        record.resource_type = Some(self.table.clone());
        record.extra.insert("verb".to_owned(), self.verb.into());
        record
    }
}

/// What happens when a raw write to an audited table is noticed; see
/// [`AuditorBuilder::guard`](crate::AuditorBuilder::guard).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum GuardMode {
    /// The write panics before it is sent, with the table, the verb, what to write instead, and the
    /// statement with `?` for its literals. For tests and development.
    Panic,
    /// The write is done, and leaves a record `unaudited_write` with the table and the verb, never
    /// with SQL or values. For production.
    Record,
    /// Nothing is looked at.
    Off,
}

impl Default for GuardMode {
    /// [`Panic`](Self::Panic) where debug assertions are on, [`Record`](Self::Record) elsewhere.
    fn default() -> Self {
        if cfg!(debug_assertions) {
            Self::Panic
        } else {
            Self::Record
        }
    }
}
