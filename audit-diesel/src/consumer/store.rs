//! Stores a batch in one transaction: each record once, and a refused one in quarantine with its
//! reason while the rest flow on.

use std::collections::HashMap;
use std::sync::Arc;

use audit_core::{Payload, Queue, QueueError, SigningKey, Warning};
use chrono::{DateTime, Utc};
use diesel::connection::Connection;
use diesel::r2d2::{ConnectionManager, Pool, R2D2Connection};
use diesel::result::{Error, QueryResult};
use uuid::Uuid;

use super::database::Database;
use super::probe::TableRefusesAll;
use super::refusal::is_outage;
use super::rights::{MissingRight, Right, TO_STORE};
use super::storing::Storing;
use super::{ConsumerError, Control, Delivery, Sink, Tally, Undelivered, poison};
use crate::failpoint::failpoint;
use crate::log::log;
use crate::store::{EntryToStore, Refused};

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

    /// Who has the lock, in words, with what can be done about it.
    fn at_work(&mut self, key: i64) -> QueryResult<Option<String>>;

    /// Inserts new rows the fastest way, into a table that [is as declared](Begun::is_as_declared); a
    /// row that is there already is an error.
    fn insert_new(&mut self, entries: &[&EntryToStore]) -> QueryResult<usize>;

    /// Inserts new rows by plain INSERT, which works wherever an insert does.
    fn insert_rows(&mut self, entries: &[&EntryToStore]) -> QueryResult<usize>;

    /// Inserts one of the latest rows once more, with another id and time.
    fn insert_again(&mut self, id: Uuid, occurred_at: DateTime<Utc>) -> QueryResult<usize>;

    /// Puts payloads into quarantine, and says how many were not there. It needs no other right than
    /// INSERT, and nothing but a payload's own id makes it a duplicate.
    fn quarantine(&mut self, refused: &[Refused]) -> QueryResult<usize>;

    /// Puts a payload into quarantine in such a way that nothing on the way to the table sees it as
    /// it is, or all of it at once.
    fn quarantine_covertly(&mut self, refused: &Refused) -> QueryResult<usize>;

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

/// A batch on its way to the backend.
#[derive(Debug)]
pub(super) struct BatchToStore {
    lock: i64,
    entries: Vec<EntryToStore>,
    refused: Vec<Refused>,
}

/// Stores what a worker takes from the queue.
pub(super) struct StoreSink<C: AuditStore> {
    database: Database<C>,
    queue: Arc<dyn Queue>,
    lock: i64,
    /// Where it is set, only what one of these keys has signed is believed.
    keys: Option<Vec<SigningKey>>,
}

/// Makes a lock's key of a queue's name: any UUID that is used for nothing else.
const LOCKS: Uuid = Uuid::from_u128(0x9c1b_6a2f_4d7e_4f0b_8f3a_6175_6469_7421);

impl<C: AuditStore> StoreSink<C> {
    /// Consumers of other queues work at the same time.
    pub(super) fn new(
        pool: Pool<ConnectionManager<C>>,
        queue: Arc<dyn Queue>,
        keys: Option<Vec<SigningKey>>,
    ) -> Self {
        let (lock, _) = Uuid::new_v5(&LOCKS, queue.name().as_bytes()).as_u64_pair();
        Self {
            database: Database::new(pool, TO_STORE),
            queue,
            lock: lock.cast_signed(),
            keys,
        }
    }
}

impl<C: AuditStore> Sink for StoreSink<C> {
    const LOOKS_AHEAD: bool = true;

    type Prepared = BatchToStore;

    fn prepare(payloads: &[Payload]) -> BatchToStore {
        BatchToStore::read(payloads)
    }

    fn deliver(
        &mut self,
        payloads: &[Payload],
        batch: BatchToStore,
    ) -> Result<Delivery, Undelivered> {
        let mut prepared = Some(batch);
        self.database.run(|conn| {
            let batch = prepared.take();
            let mut batch = batch.unwrap_or_else(|| BatchToStore::read(payloads));
            batch.lock = self.lock;
            if let Some(keys) = &self.keys {
                batch.verify(keys);
            }
            store(conn, batch)
        })
    }

    fn control(&mut self, control: &Control<'_>) -> Result<(), Undelivered> {
        self.database.run(|conn| poison::control(conn, control))
    }

    fn set_aside(&mut self, payload: &Payload, reason: &str) -> Result<Delivery, Undelivered> {
        let refused = Refused::new(payload, reason);
        self.database
            .run(|conn| poison::isolate(conn, &refused, self.lock))
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

    /// Refuses what none of the keys has signed.
    fn verify(&mut self, keys: &[SigningKey]) {
        let refused = &mut self.refused;
        self.entries.retain(|entry| {
            let verified = SigningKey::verify(keys, &entry.payload);
            if let Err(error) = &verified {
                refused.push(Refused::new(&entry.payload, &error.to_string()));
            }
            verified.is_ok()
        });
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

    fn run<C: Backend>(&self, conn: &mut C) -> QueryResult<Begun> {
        conn.begin(self.lock, self.ends)
    }
}

/// Stores a batch, on any backend.
fn store<C: Backend>(conn: &mut C, batch: BatchToStore) -> QueryResult<Delivery> {
    let beginning = Beginning::of(&batch);
    let mut refusal = None;
    if batch.is_ordinary() {
        // At once: most batches have no use for a savepoint, which costs two round trips.
        let stored = transaction(conn, &beginning, Vec::new(), |conn, storing| match storing
            .begun
            .is_redelivered
        {
            true => storing.insert(conn, batch.entries.iter().collect()),
            false => storing.insert_at_once(conn, &batch.entries),
        });
        match stored {
            Err(error) if !is_outage(&error) => refusal = Some(error),
            stored => return stored,
        }
    }
    let BatchToStore {
        entries, refused, ..
    } = batch;
    transaction(conn, &beginning, refused, |conn, storing| {
        let entries = storing.settle(conn, entries)?;
        let entries = entries.iter().collect();
        match refusal {
            Some(refusal) => storing.sort_out(conn, entries, &refusal),
            None => storing.insert(conn, entries),
        }
    })
}

/// Stores a batch in a transaction, with what is refused in quarantine.
fn transaction<C: Backend>(
    conn: &mut C,
    beginning: &Beginning,
    refused: Vec<Refused>,
    insert: impl FnOnce(&mut C, &mut Storing<'_>) -> QueryResult<()>,
) -> QueryResult<Delivery> {
    let (mut quarantined, mut cause) = (Vec::new(), None);
    let delivery = conn.batch(|conn| {
        let begun = beginning.run(conn)?;
        if !begun.is_locked {
            return Ok(Delivery::StandBy(conn.at_work(beginning.lock)?));
        }
        failpoint!("store.begun");
        let mut storing = Storing {
            begun,
            tally: Tally::default(),
            refused,
            cause: &mut cause,
        };
        insert(conn, &mut storing)?;
        let Storing {
            mut tally, refused, ..
        } = storing;
        // In the same transaction: a record is stored or quarantined, never both or neither. It
        // also tells a refusal from an outage: where nothing can be written, this fails too.
        tally.quarantined = match refused.is_empty() {
            true => 0,
            false => quarantine(conn, &refused)?,
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

/// Puts payloads into quarantine, or says that it takes none: that convicts nobody.
pub(super) fn quarantine<C: Backend>(conn: &mut C, refused: &[Refused]) -> QueryResult<usize> {
    match conn.quarantine(refused) {
        Err(error) if !is_outage(&error) => Err(TableRefusesAll::error("audit_quarantine", &error)),
        quarantined => quarantined,
    }
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
