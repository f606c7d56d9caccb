//! What a database does to store records.

use std::collections::HashMap;

use audit_core::{ContentDigest, Warning};
use chrono::{DateTime, Utc};
use diesel::connection::Connection;
use diesel::r2d2::R2D2Connection;
use diesel::result::{Error, QueryResult};
use uuid::Uuid;

use super::ConsumerError;
use super::refusal::is_outage;
use super::rights::{MissingRight, Right};
use crate::store::{EntryToStore, Refused, is_same_content};

/// Records that are stored, and the digests of what they say.
pub(crate) type Stored = HashMap<Uuid, Option<Vec<u8>>>;

/// A connection to a database that `audit_logs` can live in: `PgConnection` or `SqliteConnection`.
pub trait AuditStore: Backend + R2D2Connection + 'static {}

/// What a backend does to store records; the rest is the same for all. It has no path outside of
/// this crate, and so keeps [`AuditStore`] closed.
#[expect(private_interfaces, reason = "nobody outside can name it")]
pub trait Backend: Connection {
    /// How many records a transaction stores at most.
    const LARGEST_BATCH: usize = usize::MAX;

    /// Says which table the migrations did not make, or which right is missing.
    fn check_tables(&mut self) -> Result<(), ConsumerError>;

    /// A right that the role lacks, where the database has roles.
    fn missing_right(&mut self, needed: &[Right]) -> QueryResult<Option<MissingRight>>;

    /// Has the pool make another connection instead of this one, where that may change anything.
    fn give_up(&mut self);

    /// Settings of the server by which it could lose what it has committed.
    fn warnings(&mut self) -> QueryResult<Vec<Warning>>;

    /// Whether the other side has closed the connection, after its transaction had begun.
    fn was_closed(&mut self, problem: &str) -> bool;

    /// Runs a batch in a transaction that may write.
    fn batch<T>(&mut self, run: impl FnOnce(&mut Self) -> QueryResult<T>) -> QueryResult<T>;

    /// Lets one consumer of a queue work at a time; `false` where another one does. What it may cost
    /// the others when this one vanishes is bounded as well.
    fn try_lock(&mut self, key: i64) -> QueryResult<bool>;

    /// As [`try_lock`](Self::try_lock), and looks for two records that may be stored already.
    fn begin(&mut self, key: i64, records: Option<[Uuid; 2]>) -> QueryResult<Begun>;

    /// Who has the lock, in words, with what can be done about it, or what was done: one that no bound of
    /// the database's own ends is ended.
    fn at_work(&mut self, key: i64) -> QueryResult<Option<String>>;

    /// Inserts new rows the fastest way, into a table that [is as declared](Begun::is_as_declared); a
    /// row that is there already is an error.
    fn insert_new(&mut self, entries: &[&EntryToStore]) -> QueryResult<usize>;

    /// Inserts new rows by plain INSERT, which works wherever an insert does.
    fn insert_rows(&mut self, entries: &[&EntryToStore]) -> QueryResult<usize>;

    /// Inserts what one of the latest rows says once more, as a row of the id, time and digest of this
    /// one. It is a row that has `changes` where this one has, and if possible `extra`.
    fn insert_again(&mut self, row: &EntryToStore) -> QueryResult<usize>;

    /// Has the database look now at what it would look at in COMMIT.
    fn check_deferred(&mut self) -> QueryResult<()>;

    /// The time by the database's clock.
    fn now(&mut self) -> QueryResult<DateTime<Utc>>;

    /// Puts payloads into quarantine, and says which were not there. It needs no other right than
    /// INSERT, and nothing but a payload's own id makes it a duplicate.
    fn quarantine(&mut self, refused: &[Refused]) -> QueryResult<Vec<Uuid>>;

    /// Puts a payload into quarantine in such a way that nothing on the way to the table sees it as
    /// it is, or all of it at once.
    fn quarantine_covertly(&mut self, refused: &Refused) -> QueryResult<Vec<Uuid>>;

    /// Runs queries that are given up when they take long.
    fn bounded<T>(&mut self, run: impl FnOnce(&mut Self) -> QueryResult<T>) -> QueryResult<T>;

    /// Which of the records are in `audit_logs`.
    fn stored(&mut self, ids: &[Uuid]) -> QueryResult<Stored>;

    /// Which of the payloads are in `audit_quarantine`.
    fn quarantined(&mut self, ids: &[Uuid]) -> QueryResult<Vec<Uuid>>;

    /// Which server this is, where transactions have ids that it can be asked about.
    fn server_identity(&mut self) -> QueryResult<Option<String>>;

    /// Which database this is, where it can tell.
    fn database_identity(&mut self) -> QueryResult<Option<String>>;

    /// What became of a transaction whose COMMIT nobody saw the end of.
    fn transaction_status(&mut self, xid: i64) -> QueryResult<TransactionStatus>;

    /// What became of transactions and subtransactions that this server gave the ids of.
    fn transaction_statuses(&mut self, xids: &[i64]) -> QueryResult<Vec<(i64, TransactionStatus)>>;

    /// Whether the server crashed since this time, in microseconds since 1970: an id that was not
    /// on disk is given again after that, to a transaction that may commit.
    fn crashed_since(&mut self, micros: i64) -> QueryResult<bool>;
}

/// Whether this very record is among them, and not another one that claims its id.
pub(super) fn holds(stored: &Stored, id: Uuid, digest: &ContentDigest) -> bool {
    let found = stored.get(&id);
    found.is_some_and(|stored| is_same_content(stored.as_deref(), digest))
}

/// What is known once a storing transaction has begun.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Begun {
    /// Whether no other consumer is at work.
    pub(crate) is_locked: bool,
    /// Whether one of the records is stored already.
    pub(crate) is_redelivered: bool,
    /// Whether the table's columns have the types that they should have.
    pub(crate) is_as_declared: bool,
}

/// What became of a transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(
    not(feature = "postgres"),
    expect(dead_code, reason = "only PostgreSQL can leave a transaction in doubt")
)]
pub(crate) enum TransactionStatus {
    Committed,
    Aborted,
    InProgress,
    /// The database cannot tell (any more).
    Unknown,
}

/// Turns the error of looking at a table into the advice to run the migrations.
pub(super) fn missing_migration(
    table: &'static str,
    backend: &'static str,
) -> impl FnOnce(Error) -> ConsumerError {
    move |error| {
        let reason = error.to_string();
        if is_outage(&error) {
            return ConsumerError::NoConnection { reason };
        }
        ConsumerError::MissingMigration {
            table,
            backend,
            reason,
        }
    }
}
