//! Prepared records, and the thread that settles those whose transaction nobody saw the end of.

mod parts;

use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use audit_core::{Batch, Payload, Queue, QueueError, WorkerStatus};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::journal::{Journal, now_ms};
use super::settle;
use crate::auditor::{PreparedFor, PreparedRecords};
use crate::consumer::{
    Delivery, Judge, Question, Ruling, Settings, Sink, Tally, Undelivered, Worker,
};
use crate::log::log;
use crate::store::Refused;
use parts::Parts;

/// What a transaction gets for its COMMIT and the note of it, before a server that does not know
/// it is believed: it may be one of another application that shares the journal.
const FOREIGN_AFTER: Duration = Duration::from_secs(60);

/// A journal with prepared records, and the thread that settles them.
pub(crate) struct ReconciledJournal {
    journal: Journal,
    own: Arc<Own>,
    /// Ends with it.
    reconciler: Worker,
}

/// The transactions of this process that are not settled: it knows better than whoever asks, as
/// the file may hold more than was kept, where a savepoint's rollback could not be noted.
#[derive(Default)]
struct Own(Mutex<HashMap<Uuid, Known>>);

/// What this process knows of a transaction.
#[derive(Clone)]
enum Known {
    Open,
    /// It is committed, with these records, and that could not be noted.
    Committed(Vec<Payload>),
}

impl Own {
    fn set(&self, transaction: Uuid, known: Known) {
        self.lock().insert(transaction, known);
    }

    fn of(&self, transaction: &[u8]) -> Option<(Uuid, Known)> {
        let id = Uuid::from_slice(transaction).ok()?;
        Some((id, self.lock().get(&id)?.clone()))
    }

    fn forget(&self, transaction: Uuid) {
        self.lock().remove(&transaction);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Uuid, Known>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ReconciledJournal {
    /// Starts the thread.
    pub(crate) fn start(journal: Journal, judge: Box<dyn Judge>) -> io::Result<Self> {
        let settings = Settings {
            name: "audit-reconciler",
            batch_size: 1_000,
            interval: Duration::from_millis(250),
            stand_by: Duration::from_millis(500),
            longest_backoff: Duration::from_secs(2),
        };
        let own = Arc::<Own>::default();
        let sink = Reconcile {
            journal: journal.clone(),
            own: Arc::clone(&own),
            judge,
        };
        let queue = Arc::new(Unsettled(journal.clone()));
        Ok(Self {
            journal,
            own,
            reconciler: Worker::spawn(queue, sink, settings)?,
        })
    }
}

impl PreparedRecords for ReconciledJournal {
    fn prepare(
        &self,
        owner: &PreparedFor<'_>,
        first: u32,
        undo_from: Option<u32>,
        payloads: &[Payload],
    ) -> Result<(), QueueError> {
        self.own.set(owner.transaction, Known::Open);
        self.journal.prepare(owner, first, undo_from, payloads)
    }

    fn undo(&self, transaction: Uuid, from: u32) -> Result<(), QueueError> {
        self.journal.undo_prepared(transaction.as_bytes(), from)
    }

    fn leave(&self, transaction: Uuid) {
        self.own.forget(transaction);
    }

    fn release(&self, transaction: Uuid, payloads: &[Payload]) -> Result<(), QueueError> {
        self.own
            .set(transaction, Known::Committed(payloads.to_vec()));
        self.journal.release_as(transaction, payloads)?;
        self.own.forget(transaction);
        Ok(())
    }

    fn settle(&self, timeout: Duration) -> Result<(), QueueError> {
        settle(&self.reconciler, timeout, || self.journal.name())
    }

    fn unsettled(&self) -> Result<u64, QueueError> {
        self.journal.count_unsettled()
    }

    fn worker(&self) -> WorkerStatus {
        self.reconciler.status()
    }
}

/// A transaction to be settled, as the worker passes it on.
#[derive(Debug, Serialize, Deserialize)]
struct Entry {
    transaction: Vec<u8>,
    xid: i64,
    origin: String,
    prepared_at: i64,
}

/// The transactions with prepared records, as a queue: each is settled where it stands, so that
/// there is nothing to acknowledge.
struct Unsettled(Journal);

impl Queue for Unsettled {
    fn name(&self) -> String {
        self.0.name()
    }

    fn push(&self, _: &[Payload]) -> Result<(), QueueError> {
        Ok(())
    }

    fn peek(&self, limit: usize) -> Result<Batch, QueueError> {
        let entries = self.0.unsettled(limit)?.into_iter().map(|entry| Entry {
            transaction: entry.transaction,
            xid: entry.xid,
            origin: entry.origin,
            prepared_at: entry.prepared_at,
        });
        let payloads = entries.filter_map(|entry| serde_json::to_vec(&entry).ok());
        Ok(Batch {
            payloads: payloads.map(Payload::from).collect(),
            receipt: 0,
        })
    }

    fn ack(&self, batch: &Batch) -> Result<usize, QueueError> {
        Ok(batch.len())
    }

    fn len(&self) -> Result<u64, QueueError> {
        self.0.count_unsettled()
    }
}

/// Asks what became of each transaction, and does with its records what follows from that. Several
/// processes may do so at once: whoever comes second finds nothing.
struct Reconcile {
    journal: Journal,
    own: Arc<Own>,
    judge: Box<dyn Judge>,
}

impl Sink for Reconcile {
    type Prepared = ();

    fn prepare(_: &[Payload]) {}

    fn deliver(&mut self, payloads: &[Payload], (): ()) -> Result<Delivery, Undelivered> {
        let entries = payloads
            .iter()
            .map(|payload| serde_json::from_slice(payload.as_bytes()));
        let entries: Vec<Entry> = entries
            .collect::<Result<_, _>>()
            .map_err(|error| error.to_string())?;
        let mut tally = Tally::default();
        let mut asked = Vec::with_capacity(entries.len());
        for (entry, payload) in entries.iter().zip(payloads) {
            match self.own.of(&entry.transaction) {
                Some((_, Known::Open)) => tally.put_off.push(payload.clone()),
                Some((id, Known::Committed(kept))) => tally.stored += self.note(id, &kept)?,
                None => asked.push((entry, payload)),
            }
        }
        let questions: Vec<_> = asked.iter().map(|(entry, _)| question(entry)).collect();
        if questions.is_empty() {
            return Ok(Delivery::Done(tally));
        }
        let rulings = self.judge.rule(questions)?;
        let is_committed = |ruling: &Ruling| matches!(ruling, Ruling::Committed { .. });
        let judged = asked.iter().zip(&rulings);
        let committed = judged.filter(|(_, ruling)| is_committed(ruling));
        let committed: Vec<_> = committed.map(|((e, _), _)| &*e.transaction).collect();
        let parts = Parts::ask(&self.journal, &mut *self.judge, &committed)?;
        for ((entry, payload), ruling) in asked.into_iter().zip(rulings) {
            match parts.refine(&entry.transaction, ruling) {
                Ruling::Committed { undone } => tally.stored += self.release(entry, &undone)?,
                Ruling::Aborted => {
                    self.undo(entry)?;
                    tally.rolled_back += 1;
                }
                Ruling::InProgress => tally.put_off.push(payload.clone()),
                Ruling::Unknowable(reason) => {
                    tally.quarantined += self.quarantine(entry, &reason)?;
                }
            }
        }
        Ok(Delivery::Done(tally))
    }
}

impl Reconcile {
    /// Notes a COMMIT that could not be noted when it was.
    fn note(&self, transaction: Uuid, payloads: &[Payload]) -> Result<usize, String> {
        self.journal
            .release_as(transaction, payloads)
            .map_err(|error| error.to_string())?;
        self.own.forget(transaction);
        Ok(payloads.len())
    }

    fn release(&self, entry: &Entry, undone: &[i64]) -> Result<usize, String> {
        self.journal
            .release_prepared(&entry.transaction, undone)
            .map_err(|error| error.to_string())
    }

    fn undo(&self, entry: &Entry) -> Result<(), String> {
        self.journal
            .undo_prepared(&entry.transaction, 0)
            .map_err(|error| error.to_string())
    }

    /// Put there before they are removed here: there twice is there once.
    fn quarantine(&mut self, entry: &Entry, reason: &str) -> Result<usize, String> {
        let payloads = self
            .journal
            .prepared_payloads(&entry.transaction)
            .map_err(|error| error.to_string())?;
        let refused = payloads.iter().map(|p| Refused::new(p, reason)).collect();
        self.judge.quarantine(refused)?;
        self.undo(entry)?;
        log!(
            error,
            records = payloads.len(),
            xid = entry.xid,
            reason,
            "audit records of a transaction whose end is unknown went into quarantine"
        );
        Ok(payloads.len())
    }
}

fn question(entry: &Entry) -> Question {
    let age = now_ms().saturating_sub(entry.prepared_at);
    Question {
        xid: entry.xid,
        origin: entry.origin.clone(),
        is_old: age > FOREIGN_AFTER.as_millis() as i64,
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

    use audit_core::WorkerState;

    use super::*;
    use crate::consumer::TransactionStatus;

    /// Panics at each question until it is mended; then everything is committed.
    struct Panicking(Arc<AtomicBool>);

    impl Judge for Panicking {
        fn rule(&mut self, questions: Vec<Question>) -> Result<Vec<Ruling>, String> {
            assert!(self.0.load(SeqCst), "no provider");
            let committed = |_| Ruling::Committed { undone: Vec::new() };
            Ok(questions.into_iter().map(committed).collect())
        }

        fn statuses(&mut self, ids: Vec<i64>) -> Result<HashMap<i64, TransactionStatus>, String> {
            let committed = |id| (id, TransactionStatus::Committed);
            Ok(ids.into_iter().map(committed).collect())
        }

        fn quarantine(&mut self, _: Vec<Refused>) -> Result<(), String> {
            Err("there is none".to_owned())
        }
    }

    #[test]
    fn the_resolver_outlives_a_panic_of_what_it_asks_and_says_so() {
        let folder = tempfile::tempdir().unwrap();
        let journal = Journal::builder(folder.path().join("journal.db"));
        let (journal, mended) = (journal.open().unwrap(), Arc::<AtomicBool>::default());
        let judge = Box::new(Panicking(Arc::clone(&mended)));
        let reconciled = ReconciledJournal::start(journal.clone(), judge).unwrap();
        let transaction = Uuid::now_v7();
        let owner = PreparedFor {
            transaction,
            xid: 7,
            writer: 7,
            origin: "here",
        };
        let payloads = [Payload::from(&b"a"[..])];
        reconciled.prepare(&owner, 0, None, &payloads).unwrap();
        reconciled.leave(transaction);
        let resolver = &reconciled.reconciler;
        let soon = Duration::from_millis(300);
        reconciled.settle(soon).unwrap_err();
        assert_eq!(reconciled.unsettled(), Ok(1));
        let said = resolver.status().to_string();
        assert!(said.contains("no provider"), "{said}");
        mended.store(true, SeqCst);
        reconciled.settle(Duration::from_secs(60)).unwrap();
        assert_eq!(reconciled.unsettled(), Ok(0));
        assert_eq!(journal.peek(9).unwrap().payloads, payloads);
        assert_eq!(resolver.status().state, WorkerState::Running);
    }
}
