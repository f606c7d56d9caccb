//! What can go wrong on the application's side of the queue.

use std::fmt;

use audit_core::QueueError;

/// Why something could not be recorded.
///
/// An audited statement returns it inside [`diesel::result::Error::QueryBuilderError`]; use
/// [`AuditError::of`] to look for it there.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum AuditError {
    /// An audited statement ran on a connection that no auditor was attached to. Nothing was
    /// written.
    #[error(
        "this connection has no auditor, so nothing was written: attach one with \
         `auditor.attach(&mut conn)`, or with `.connection_customizer(auditor.customizer())` on \
         the pool; a later `set_instrumentation` removes it again"
    )]
    NoAuditor,
    /// There is no context, or one without an actor, and the auditor was built with
    /// `require_context()`. Nothing was written.
    #[error(
        "no audit context names an actor, and this auditor requires one, so nothing was written: \
         run this inside `AuditContext::new(Actor::…).scope(…)`; for threads and tasks use \
         `wrap` and `attach_to`"
    )]
    NoContext,
    /// An update of a relation whose rows the model's key does not tell apart: it could have written
    /// rows that its filter does not name. Nothing was written.
    #[error(
        "no unique index says that ({key}) tells the rows of {table} apart, so nothing was updated: \
         an audited table needs a primary key, or a unique index over columns that cannot be null, \
         which is not DEFERRABLE, and the model's `primary_key` has to name it. A view, a foreign \
         table, and a table that others inherit from have no such index: update the table that holds \
         the rows through a model of its own, or run `diesel::update` inside \
         `audit_diesel::exempt(conn, \"why\", |conn| …)`"
    )]
    KeyNotUnique {
        /// The table.
        table: String,
        /// The model's key.
        key: String,
    },
    /// A write of which the database would not say which rows it wrote. Nothing was written.
    #[error(
        "an audited {verb} of {table} reads the rows that it writes (RETURNING), and cannot here, so \
         nothing was written: {reason}. Or run `diesel::{function}` inside \
         `audit_diesel::exempt(conn, \"why\", |conn| …)`"
    )]
    NotReturned {
        /// The table.
        table: String,
        /// What was to be done: `insert`, `update` or `delete`.
        verb: &'static str,
        /// Why the rows cannot be read, and what could be done.
        reason: &'static str,
        /// Diesel's function for it.
        function: &'static str,
    },
    /// An exempt block without a reason. Nothing ran.
    #[error(
        "an exempt block needs a reason that an auditor understands, so nothing ran: write \
         `exempt(conn, \"backfill of price_cents\", |conn| …)`"
    )]
    NoReason,
    /// The open transaction holds more records than the auditor may keep in memory.
    #[error(
        "the records of this transaction exceed {max_bytes} bytes, so it must be rolled back: \
         commit in smaller steps, or raise `max_transaction_bytes` on the auditor's builder"
    )]
    TransactionTooLarge {
        /// The bound, in bytes.
        max_bytes: usize,
    },
    /// A value of an event cannot be written as JSON. It was not recorded.
    #[error("the event cannot be written as JSON: {0}")]
    Unserializable(#[source] serde_json::Error),
    /// A record has to go to a queue, and the auditor was built without one. Nothing was written.
    #[error(
        "this auditor has no queue, so only `Delivery::Transactional` can be recorded with it: \
         use `record_in(conn, …)` for an event, or give the auditor `.redis(url)` or \
         `.journal(path)`"
    )]
    NoQueue,
    /// A model asks for `prepared`, and the auditor has nothing to write records down in before
    /// COMMIT. Nothing was written.
    #[error(
        "`Delivery::Prepared` writes records down before COMMIT, and this auditor has nothing to \
         do that in: give it `.journal(path)` and `.confirm_in(pool)`"
    )]
    NoJournal,
    /// `prepared` on a database whose transactions have no ids that it can be asked about.
    /// Nothing was written.
    #[error(
        "`Delivery::Prepared` asks PostgreSQL what became of a transaction, and SQLite cannot be \
         asked: use `Delivery::Transactional` there"
    )]
    PreparedNeedsPostgres,
    /// The SQLite that is linked has no RETURNING, which audited statements need. Nothing was written.
    #[error(
        "audited statements need SQLite 3.35 or later, and {version} is linked, so nothing was written: \
         enable the feature `bundled` of audit-diesel, or link a newer libsqlite3"
    )]
    SqliteTooOld {
        /// The version that is linked.
        version: String,
    },
    /// The database refused a record that belongs to the transaction, which must be rolled back.
    #[error(
        "the audit record could not be stored ({reason}), so its change is not kept either: roll \
         the transaction back"
    )]
    NotStored {
        /// What the database said.
        reason: String,
    },
    /// A record could not be inserted into `audit_logs`, so its change is not kept either.
    #[error(
        "the audit record could not be stored ({reason}), so its change is not kept either: run \
         the migrations, `conn.run_pending_migrations(audit_diesel::postgres::MIGRATIONS)` or \
         `sqlite::MIGRATIONS`, in this database, and let its user insert into `audit_logs`"
    )]
    TrailUnusable {
        /// What the database said.
        reason: String,
    },
    /// The role of the connection may not insert into `audit_logs`, so its change is not kept either.
    #[error(
        "the audit record could not be stored ({reason}), so its change is not kept either: the \
         connection's role needs INSERT on `audit_logs`; let the owner run `GRANT INSERT ON audit_logs \
         TO` this role"
    )]
    TrailForbidden {
        /// What the database said.
        reason: String,
    },
    /// The database failed while it stored a record; an audited statement returns the error
    /// itself.
    #[error("the audit record could not be stored: {0}")]
    Database(#[source] diesel::result::Error),
    /// The queue did not take it.
    #[error(transparent)]
    Queue(#[from] QueueError),
}

impl fmt::Debug for AuditError {
    /// Says what to do, as `Display` does: `unwrap` shows `Debug`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AuditError({self})")
    }
}

impl AuditError {
    /// The audit error inside Diesel's error, if that is what it is.
    pub fn of(error: &diesel::result::Error) -> Option<&Self> {
        match error {
            diesel::result::Error::QueryBuilderError(inner) => inner.downcast_ref(),
            _ => None,
        }
    }
}

impl AuditError {
    /// The audit error out of Diesel's error, or around it.
    pub(crate) fn out_of(error: diesel::result::Error) -> Self {
        match error {
            diesel::result::Error::QueryBuilderError(inner) => match inner.downcast() {
                Ok(error) => *error,
                Err(inner) => Self::Database(diesel::result::Error::QueryBuilderError(inner)),
            },
            error => Self::Database(error),
        }
    }
}

impl From<AuditError> for diesel::result::Error {
    fn from(error: AuditError) -> Self {
        match error {
            AuditError::Database(error) => error,
            error => Self::QueryBuilderError(Box::new(error)),
        }
    }
}
