//! Stores a batch in one transaction: each record once, and a refused one in quarantine with its
//! reason while the rest flow on.

use std::sync::Arc;
use std::time::Duration;

use audit_core::{Payload, Queue, QueueError, Warning};
use diesel::connection::Connection;
use diesel::r2d2::{ConnectionManager, Pool, R2D2Connection};
use diesel::result::{Error, QueryResult};
use uuid::Uuid;

use super::error::discreet;
use super::refusal::is_outage;
use super::storing::Storing;
use super::{ConsumerError, Control, Delivery, Sink, Tally, Undelivered, poison};
use crate::failpoint::failpoint;
use crate::log::log;
use crate::store::{EntryToStore, Refused};

/// A connection to a database that `audit_logs` can live in: `PgConnection` or `SqliteConnection`.
pub trait AuditStore: Backend + R2D2Connection + 'static {}

/// What a backend does to store records; the rest is the same for all. It has no path outside of
/// this crate, and so keeps [`AuditStore`] closed.
#[expect(private_interfaces, reason = "nobody outside can name it")]
pub trait Backend: Connection {
    /// Says which table the migrations did not make.
    fn check_tables(&mut self) -> Result<(), ConsumerError>;

    /// Settings of the server by which it could lose what it has committed.
    fn warnings(&mut self) -> QueryResult<Vec<Warning>>;

    /// Whether the other side has closed the connection, after its transaction had begun.
    fn was_closed(&mut self, problem: &str) -> bool;

    /// Runs a batch in a transaction that may write.
    fn batch<T>(&mut self, run: impl FnOnce(&mut Self) -> QueryResult<T>) -> QueryResult<T>;

    /// Lets one consumer of a queue work at a time; `false` where another one does.
    fn try_lock(&mut self, key: i64) -> QueryResult<bool>;

    /// As [`try_lock`](Self::try_lock), and says whether one of two records is stored already.
    fn try_lock_and_look(&mut self, key: i64, records: [Uuid; 2]) -> QueryResult<(bool, bool)>;

    /// Inserts new rows the fastest way; a row that is there already is an error.
    fn insert_new(&mut self, entries: &[&EntryToStore]) -> QueryResult<usize>;

    /// Inserts the rows that are not there, and says how many those were.
    fn insert_missing(&mut self, entries: &[&EntryToStore]) -> QueryResult<usize>;

    /// Puts payloads into quarantine.
    fn quarantine(&mut self, refused: &[Refused]) -> QueryResult<usize>;

    /// Puts a payload into quarantine in such a way that nothing on the way to the table sees it as
    /// it is, or all of it at once.
    fn quarantine_covertly(&mut self, refused: &Refused) -> QueryResult<usize>;

    /// Runs queries that are given up when they take long.
    fn bounded<T>(&mut self, run: impl FnOnce(&mut Self) -> QueryResult<T>) -> QueryResult<T>;

    /// Which of the records are in `audit_logs`.
    fn stored(&mut self, ids: &[Uuid]) -> QueryResult<Vec<Uuid>>;

    /// Which of the payloads are in `audit_quarantine`.
    fn quarantined(&mut self, ids: &[Uuid]) -> QueryResult<Vec<Uuid>>;

    /// Which server this is, where transactions have ids that it can be asked about.
    fn server_identity(&mut self) -> QueryResult<Option<String>>;

    /// What became of a transaction whose COMMIT nobody saw the end of.
    fn transaction_status(&mut self, xid: i64) -> QueryResult<TransactionStatus>;

    /// What became of transactions and subtransactions that this server gave the ids of.
    fn transaction_statuses(&mut self, xids: &[i64]) -> QueryResult<Vec<(i64, TransactionStatus)>>;

    /// Whether the server crashed since this time, in microseconds since 1970: an id that was not
    /// on disk is given again after that, to a transaction that may commit.
    fn crashed_since(&mut self, micros: i64) -> QueryResult<bool>;
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

/// A batch on its way to the backend.
#[derive(Debug)]
pub(super) struct BatchToStore {
    lock: i64,
    entries: Vec<EntryToStore>,
    refused: Vec<Refused>,
}

/// Stores what a worker takes from the queue.
pub(super) struct StoreSink<C: AuditStore> {
    pool: Pool<ConnectionManager<C>>,
    queue: Arc<dyn Queue>,
    lock: i64,
}

/// Makes a lock's key of a queue's name: any UUID that is used for nothing else.
const LOCKS: Uuid = Uuid::from_u128(0x9c1b_6a2f_4d7e_4f0b_8f3a_6175_6469_7421);

/// How long to wait for a connection of the pool: less than `stop()` may take.
pub(super) const POOL_TIMEOUT: Duration = Duration::from_secs(3);

impl<C: AuditStore> StoreSink<C> {
    /// Consumers of other queues work at the same time.
    pub(super) fn new(pool: Pool<ConnectionManager<C>>, queue: Arc<dyn Queue>) -> Self {
        let (lock, _) = Uuid::new_v5(&LOCKS, queue.name().as_bytes()).as_u64_pair();
        Self {
            pool,
            queue,
            lock: lock.cast_signed(),
        }
    }

    fn run<T>(&self, work: impl FnOnce(&mut C) -> QueryResult<T>) -> Result<T, Undelivered> {
        let mut conn = self
            .pool
            .get_timeout(POOL_TIMEOUT)
            .map_err(|error| format!("no database connection: {}", discreet(&error.to_string())))?;
        work(&mut conn).map_err(|error| {
            let problem = error.to_string();
            if conn.was_closed(&problem) {
                Undelivered::Cut(problem)
            } else {
                Undelivered::Outage(problem)
            }
        })
    }
}

impl<C: AuditStore> Sink for StoreSink<C> {
    const LOOKS_AHEAD: bool = true;

    type Prepared = BatchToStore;

    fn prepare(payloads: &[Payload]) -> BatchToStore {
        BatchToStore::read(payloads)
    }

    fn deliver(&mut self, _: &[Payload], mut batch: BatchToStore) -> Result<Delivery, Undelivered> {
        batch.lock = self.lock;
        self.run(|conn| store(conn, batch))
    }

    fn control(&mut self, control: &Control<'_>) -> Result<(), Undelivered> {
        self.run(|conn| poison::control(conn, control))
    }

    fn set_aside(&mut self, payload: &Payload, reason: &str) -> Result<Delivery, Undelivered> {
        let refused = Refused::new(payload, reason);
        self.run(|conn| poison::isolate(conn, &refused, self.lock))
    }

    fn warnings(&self) -> Result<Vec<Warning>, QueueError> {
        self.queue.warnings()
    }
}

impl BatchToStore {
    fn read(payloads: &[Payload]) -> Self {
        let mut batch = Self {
            lock: 0,
            entries: Vec::with_capacity(payloads.len()),
            refused: Vec::new(),
        };
        for payload in payloads {
            match EntryToStore::read(payload) {
                Ok(entry) => batch.entries.push(entry),
                Err(refused) => batch.refused.push(refused),
            }
        }
        // In the order of the key: two consumers cannot wait for each other.
        batch.entries.sort_by_key(|entry| entry.record.id);
        batch
    }

    /// Whether all of it is to be stored, as far as is known.
    fn is_ordinary(&self) -> bool {
        let settled = |entry: &EntryToStore| entry.record.unsettled.is_none();
        self.refused.is_empty() && self.entries.iter().all(settled)
    }
}

/// The smallest batch in which it pays to look for a redelivery before it fails.
const LOOK_FIRST: usize = 100;

/// What a batch's transaction begins with.
struct Beginning {
    lock: i64,
    /// The first and the last record, where it pays to look for them: what is redelivered are whole
    /// batches, or these begin or end with what is stored already.
    ends: Option<[Uuid; 2]>,
}

impl Beginning {
    fn of(batch: &BatchToStore) -> Self {
        let ends = match batch.entries.as_slice() {
            [first, .., last] if batch.entries.len() >= LOOK_FIRST => {
                Some([first.record.id, last.record.id])
            }
            _ => None,
        };
        Self {
            lock: batch.lock,
            ends,
        }
    }

    /// Takes the lock, and says whether that worked, and whether the batch looks like a redelivery.
    fn run<C: Backend>(&self, conn: &mut C) -> QueryResult<(bool, bool)> {
        match self.ends {
            Some(ends) => conn.try_lock_and_look(self.lock, ends),
            None => Ok((conn.try_lock(self.lock)?, false)),
        }
    }
}

/// Stores a batch, on any backend.
fn store<C: Backend>(conn: &mut C, batch: BatchToStore) -> QueryResult<Delivery> {
    let beginning = Beginning::of(&batch);
    let mut refusal = None;
    if batch.is_ordinary() {
        // At once: most batches have no use for a savepoint, which costs two round trips.
        let stored = transaction(
            conn,
            &beginning,
            Vec::new(),
            |conn, storing, redelivered| match redelivered {
                true => storing.insert(conn, batch.entries.iter().collect(), true),
                false => storing.insert_at_once(conn, &batch.entries),
            },
        );
        match stored {
            Err(error) if !is_outage(&error) => refusal = Some(error),
            stored => return stored,
        }
    }
    let BatchToStore {
        entries, refused, ..
    } = batch;
    transaction(conn, &beginning, refused, |conn, storing, redelivered| {
        let entries = storing.settle(conn, entries)?;
        let entries = entries.iter().collect();
        match refusal {
            Some(refusal) => storing.sort_out(conn, entries, &refusal),
            None => storing.insert(conn, entries, redelivered),
        }
    })
}

/// Stores a batch in a transaction, with what is refused in quarantine.
fn transaction<C: Backend>(
    conn: &mut C,
    beginning: &Beginning,
    refused: Vec<Refused>,
    insert: impl FnOnce(&mut C, &mut Storing<'_>, bool) -> QueryResult<()>,
) -> QueryResult<Delivery> {
    let (mut quarantined, mut cause) = (Vec::new(), None);
    let delivery = conn.batch(|conn| {
        let (is_locked, is_redelivered) = beginning.run(conn)?;
        if !is_locked {
            return Ok(Delivery::StandBy);
        }
        failpoint!("store.begun");
        let mut storing = Storing {
            tally: Tally::default(),
            refused,
            cause: &mut cause,
        };
        insert(conn, &mut storing, is_redelivered)?;
        let Storing {
            mut tally, refused, ..
        } = storing;
        // In the same transaction: a record is stored or quarantined, never both or neither. It
        // also tells a refusal from an outage: where nothing can be written, this fails too.
        tally.quarantined = match refused.is_empty() {
            true => 0,
            false => conn.quarantine(&refused)?,
        };
        tally.duplicates += refused.len() - tally.quarantined;
        quarantined = refused;
        failpoint!("store.before-commit");
        Ok(Delivery::Done(tally))
    });
    let delivery = delivery.map_err(|error| cause.unwrap_or(error))?;
    failpoint!("store.committed");
    // Not before COMMIT: a batch that is tried again would say it again.
    quarantined.iter().for_each(say_quarantined);
    Ok(delivery)
}

pub(super) fn say_quarantined(refused: &Refused) {
    log!(
        error,
        quarantine_id = %refused.id(),
        reason = refused.reason_without_values(),
        "an audit record went into quarantine"
    );
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
