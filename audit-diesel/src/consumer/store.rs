//! Stores a batch in one transaction: each record once, and a refused one in quarantine with its
//! reason while the rest flow on.

use std::sync::Arc;

use audit_core::{Payload, Queue, QueueError, SigningKey, Warning};
use diesel::r2d2::{ConnectionManager, Pool};
use diesel::result::QueryResult;
use uuid::Uuid;

use super::backend::{AuditStore, Backend, Begun};
use super::database::Database;
use super::quarantine::say_quarantined;
use super::refusal::is_outage;
use super::rights::TO_STORE;
use super::storing::Storing;
use super::{Control, Delivery, Sink, Undelivered, poison};
use crate::failpoint::failpoint;
use crate::store::{EntryToStore, Refused};

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

    fn deliver(&mut self, _: &[Payload], mut batch: BatchToStore) -> Result<Delivery, Undelivered> {
        batch.lock = self.lock;
        if let Some(keys) = &self.keys {
            batch.verify(keys);
        }
        self.database.run(|conn| store(conn, batch))
    }

    fn control(&mut self, control: &Control<'_>) -> Result<(), Undelivered> {
        self.database.run(|conn| poison::control(conn, control))
    }

    fn set_aside(&mut self, payload: &Payload, reason: &str) -> Result<Delivery, Undelivered> {
        let lock = self.lock;
        self.database
            .run(|conn| poison::isolate(conn, Refused::new(payload, reason), lock))
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
    let (mut said, mut cause) = ((Vec::new(), Vec::new()), None);
    let delivery = conn.batch(|conn| {
        let begun = beginning.run(conn)?;
        if !begun.is_locked {
            return Ok(Delivery::StandBy(conn.at_work(beginning.lock)?));
        }
        failpoint!("store.begun");
        let mut storing = Storing::new(begun, refused, &mut cause);
        insert(conn, &mut storing)?;
        said = storing.quarantine(conn)?;
        let tally = storing.tally;
        failpoint!("store.before-commit");
        Ok(Delivery::Done(tally))
    });
    let delivery = delivery.map_err(|error| cause.unwrap_or(error))?;
    failpoint!("store.committed");
    // Not before COMMIT: a batch that is tried again would say it again.
    say_quarantined(&said.0, &said.1);
    Ok(delivery)
}
