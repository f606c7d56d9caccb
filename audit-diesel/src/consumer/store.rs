//! Stores a batch in one transaction: each record once, and a refused one in quarantine with its
//! reason while the rest flow on.

use std::collections::HashMap;
use std::time::Duration;

use audit_core::Payload;
use chrono::{DateTime, Utc};
use diesel::connection::Connection;
use diesel::r2d2::{ConnectionManager, Pool, R2D2Connection};
use diesel::result::{DatabaseErrorKind, Error, QueryResult};

use super::{ConsumerError, Delivery, Sink, Tally};
use crate::store::{EntryToStore, Refused};

/// A connection to a database that `audit_logs` can live in.
pub trait AuditStore: Connection + R2D2Connection + 'static {
    /// Says which table the migrations did not make.
    #[doc(hidden)]
    fn check_tables(conn: &mut Self) -> Result<(), ConsumerError>;

    #[doc(hidden)]
    fn store(conn: &mut Self, batch: BatchToStore) -> QueryResult<StoredBatch>;
}

/// What a backend does to store records; the rest is the same for all.
pub(super) trait Backend: Connection {
    /// Runs a batch in a transaction that may write.
    fn batch<T>(&mut self, run: impl FnOnce(&mut Self) -> QueryResult<T>) -> QueryResult<T>;

    /// Lets one consumer work at a time; `false` where another one does.
    fn try_lock(&mut self) -> QueryResult<bool>;

    /// Inserts new rows the fastest way; a row that is there already is an error.
    fn insert_new(&mut self, entries: &[&EntryToStore], now: DateTime<Utc>) -> QueryResult<usize>;

    /// Inserts the rows that are not there, and says how many those were.
    fn insert_missing(
        &mut self,
        entries: &[&EntryToStore],
        now: DateTime<Utc>,
    ) -> QueryResult<usize>;

    /// Puts payloads into quarantine.
    fn quarantine(&mut self, refused: &[Refused]) -> QueryResult<usize>;

    /// What became of a transaction whose COMMIT nobody saw the end of.
    fn transaction_status(&mut self, xid: i64) -> QueryResult<TransactionStatus>;
}

/// What became of a transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(
    not(feature = "postgres"),
    expect(dead_code, reason = "only PostgreSQL can leave a transaction in doubt")
)]
pub(super) enum TransactionStatus {
    Committed,
    Aborted,
    InProgress,
    /// The database cannot tell (any more).
    Unknown,
}

/// A batch on its way to the backend.
#[doc(hidden)]
#[derive(Debug)]
pub struct BatchToStore {
    entries: Vec<EntryToStore>,
    refused: Vec<Refused>,
}

/// What became of a batch.
#[doc(hidden)]
#[derive(Debug)]
pub struct StoredBatch(Delivery);

/// Stores what a worker takes from the queue.
pub(super) struct StoreSink<C: AuditStore> {
    pool: Pool<ConnectionManager<C>>,
}

/// How long to wait for a connection of the pool: less than `stop()` may take.
const POOL_TIMEOUT: Duration = Duration::from_secs(3);

impl<C: AuditStore> StoreSink<C> {
    pub(super) fn new(pool: Pool<ConnectionManager<C>>) -> Self {
        Self { pool }
    }
}

impl<C: AuditStore> Sink for StoreSink<C> {
    fn deliver(&mut self, payloads: &[Payload]) -> Result<Delivery, String> {
        let batch = BatchToStore::read(payloads);
        let mut conn = self
            .pool
            .get_timeout(POOL_TIMEOUT)
            .map_err(|error| format!("no database connection: {error}"))?;
        let stored = C::store(&mut conn, batch).map_err(|error| error.to_string())?;
        Ok(stored.0)
    }
}

impl BatchToStore {
    fn read(payloads: &[Payload]) -> Self {
        let mut batch = Self {
            entries: Vec::with_capacity(payloads.len()),
            refused: Vec::new(),
        };
        for payload in payloads {
            match EntryToStore::read(payload) {
                Ok(entry) => batch.entries.push(entry),
                Err(refused) => batch.refused.push(refused),
            }
        }
        batch
    }
}

/// Stores a batch, on any backend.
pub(super) fn store<C: Backend>(conn: &mut C, batch: BatchToStore) -> QueryResult<StoredBatch> {
    let delivery = conn.batch(|conn| {
        if !conn.try_lock()? {
            return Ok(Delivery::StandBy);
        }
        let mut storing = Storing {
            tally: Tally::default(),
            refused: batch.refused,
            now: Utc::now(),
        };
        let mut entries = storing.settle(conn, batch.entries)?;
        // In the order of the key: two consumers cannot wait for each other.
        entries.sort_by_key(|entry| entry.record.id);
        storing.insert(conn, &entries.iter().collect::<Vec<_>>())?;
        // In the same transaction: a record is stored or quarantined, never both or neither. It
        // also tells a refusal from an outage: where nothing can be written, this fails too.
        storing.tally.quarantined = storing.refused.len();
        conn.quarantine(&storing.refused)?;
        for refused in &storing.refused {
            tracing::error!(
                reason = refused.reason,
                "an audit record went into quarantine"
            );
        }
        Ok(Delivery::Done(storing.tally))
    })?;
    Ok(StoredBatch(delivery))
}

/// A batch that is being stored.
struct Storing {
    tally: Tally,
    refused: Vec<Refused>,
    now: DateTime<Utc>,
}

impl Storing {
    /// Asks the database about transactions whose end nobody saw.
    fn settle<C: Backend>(
        &mut self,
        conn: &mut C,
        entries: Vec<EntryToStore>,
    ) -> QueryResult<Vec<EntryToStore>> {
        let mut known = HashMap::new();
        let mut settled = Vec::with_capacity(entries.len());
        for entry in entries {
            let Some(unsettled) = entry.record.unsettled else {
                settled.push(entry);
                continue;
            };
            let status = match known.get(&unsettled.xid) {
                Some(status) => *status,
                None => conn.transaction_status(unsettled.xid)?,
            };
            known.insert(unsettled.xid, status);
            match status {
                TransactionStatus::Committed => settled.push(entry),
                TransactionStatus::Aborted => self.tally.rolled_back += 1,
                TransactionStatus::InProgress => self.tally.put_off.push(entry.payload),
                TransactionStatus::Unknown => self.refuse(
                    &entry,
                    "the connection was lost during COMMIT, and this database cannot tell \
                     whether the transaction was committed",
                ),
            }
        }
        Ok(settled)
    }

    fn insert<C: Backend>(&mut self, conn: &mut C, entries: &[&EntryToStore]) -> QueryResult<()> {
        if entries.is_empty() {
            return Ok(());
        }
        let now = self.now;
        match conn.transaction(|conn| conn.insert_new(entries, now)) {
            Ok(stored) => {
                self.tally.stored += stored;
                Ok(())
            }
            Err(error) if is_outage(&error) => Err(error),
            Err(_) => self.insert_missing(conn, entries),
        }
    }

    /// Inserts what is not there; where that is refused, halves the batch until the record that
    /// cannot be stored is found.
    fn insert_missing<C: Backend>(
        &mut self,
        conn: &mut C,
        entries: &[&EntryToStore],
    ) -> QueryResult<()> {
        let now = self.now;
        match conn.transaction(|conn| conn.insert_missing(entries, now)) {
            Ok(stored) => {
                self.tally.stored += stored;
                self.tally.duplicates += entries.len() - stored;
                Ok(())
            }
            Err(error) if is_outage(&error) => Err(error),
            Err(error) => match entries {
                [] => Err(error),
                [entry] => {
                    self.refuse(entry, &error.to_string());
                    Ok(())
                }
                _ => {
                    let (left, right) = entries.split_at(entries.len() / 2);
                    self.insert_missing(conn, left)?;
                    self.insert_missing(conn, right)
                }
            },
        }
    }

    fn refuse(&mut self, entry: &EntryToStore, reason: &str) {
        self.refused.push(Refused {
            payload: entry.payload.clone(),
            reason: reason.to_owned(),
        });
    }
}

/// Errors that say nothing about the record: later it can be stored.
pub(super) fn is_outage(error: &Error) -> bool {
    match error {
        Error::DatabaseError(kind, _) => matches!(
            kind,
            DatabaseErrorKind::ClosedConnection
                | DatabaseErrorKind::UnableToSendCommand
                | DatabaseErrorKind::SerializationFailure
                | DatabaseErrorKind::ReadOnlyTransaction
        ),
        Error::BrokenTransactionManager | Error::RollbackErrorOnCommit { .. } => true,
        _ => false,
    }
}

/// Turns the error of looking at a table into the advice to run the migrations.
pub(super) fn missing_migration(
    table: &'static str,
    backend: &'static str,
) -> impl FnOnce(Error) -> ConsumerError {
    move |error| ConsumerError::MissingMigration {
        table,
        backend,
        reason: error.to_string(),
    }
}
