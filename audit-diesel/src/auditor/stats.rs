//! What an auditor counts.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use audit_core::{Backlog, QueueError, QueueStatus, WorkerStatus};

use crate::contained::Panics;

/// What an auditor did since it was built, how its threads fare, and what waits on this machine.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct AuditorStats {
    /// Records that the queue took.
    pub published: u64,
    /// Records that the queue did not take. They are lost; anything but 0 wants a look.
    pub failed: u64,
    /// Records whose transaction was rolled back.
    pub discarded: u64,
    /// Records whose transaction may have been committed or rolled back, as far as this side was
    /// told: the connection was lost, a pooler answered in the database's place, or another
    /// instrumentation was set meanwhile. They travel, and PostgreSQL is asked before they are
    /// stored.
    pub in_doubt: u64,
    /// Connections of a pool that had lost their auditor when they were closed:
    /// `set_instrumentation` was called on them, where `attach_chained` should have been.
    pub detached: u64,
    /// Records that were dropped as their connection ended inside of a transaction that no database can
    /// be asked about, as on SQLite. Where it was `set_instrumentation` that ended it, the transaction may
    /// have been committed.
    pub left: u64,
    /// Statements and events that ran without an actor in force.
    pub without_actor: u64,
    /// Records whose values were replaced by their sizes.
    pub oversized: u64,
    /// Raw writes to audited tables that the guard noticed, in [`GuardMode::Record`](crate::GuardMode::Record),
    /// and audited inserts whose rows a trigger had begun to route elsewhere; see
    /// [`docs::relations`](crate::docs::relations).
    pub unaudited_writes: u64,
    /// Records that had left their queue without reaching the database, and that the journal
    /// delivered again; see [`confirm_in`](crate::AuditorBuilder::confirm_in).
    pub sent_again: u64,
    /// Records that were kept in memory because Redis was away, and the journal, where there is one,
    /// could not be written, and that could not be delivered before the auditor was dropped. They
    /// are lost.
    pub dropped: u64,
    /// Panics of the queue, and of what it is made of, that were caught. Nothing is lost by one
    /// alone; it is a defect all the same, and the log names it.
    pub panics: u64,
    /// The threads behind the auditor: each runs, or fails since when and why.
    pub workers: Vec<WorkerStatus>,
    /// What waits in the journal: records that were not carried on to Redis, or, with
    /// [`confirm_in`](crate::AuditorBuilder::confirm_in), are not found in the database yet. None
    /// without a journal; an error where it cannot be read now.
    pub journal: Option<Result<Backlog, QueueError>>,
    /// What waits in memory, as neither the journal nor Redis took it. None where there is no such
    /// memory.
    pub memory: Option<Backlog>,
}

/// What the threads behind the queue count.
#[derive(Debug, Default)]
pub(crate) struct DeliveryCounters {
    sent_again: AtomicU64,
    dropped: AtomicU64,
    pub(crate) panics: Arc<Panics>,
}

#[cfg(feature = "redis")]
impl DeliveryCounters {
    #[cfg(feature = "journal")]
    pub(crate) fn sent_again(&self, records: usize) {
        self.sent_again.fetch_add(records as u64, Relaxed);
    }

    pub(crate) fn dropped(&self, records: u64) {
        self.dropped.fetch_add(records, Relaxed);
    }
}

#[derive(Debug, Default)]
pub(super) struct Counters {
    published: AtomicU64,
    failed: AtomicU64,
    discarded: AtomicU64,
    in_doubt: AtomicU64,
    detached: AtomicU64,
    left: AtomicU64,
    without_actor: AtomicU64,
    oversized: AtomicU64,
    unaudited_writes: AtomicU64,
    pub(super) delivery: Arc<DeliveryCounters>,
}

impl Counters {
    pub(super) fn new(delivery: Arc<DeliveryCounters>) -> Self {
        Self {
            delivery,
            ..Self::default()
        }
    }

    pub(super) fn published(&self, records: usize) {
        self.published.fetch_add(records as u64, Relaxed);
    }

    /// Says how many those are by now.
    pub(super) fn failed(&self, records: usize) -> u64 {
        self.failed.fetch_add(records as u64, Relaxed) + records as u64
    }

    pub(super) fn discarded(&self, records: usize) {
        self.discarded.fetch_add(records as u64, Relaxed);
    }

    pub(super) fn in_doubt(&self, records: usize) {
        self.in_doubt.fetch_add(records as u64, Relaxed);
    }

    /// Says how many those are by now.
    pub(super) fn detached(&self) -> u64 {
        self.detached.fetch_add(1, Relaxed) + 1
    }

    pub(super) fn left(&self, records: usize) {
        self.left.fetch_add(records as u64, Relaxed);
    }

    pub(super) fn without_actor(&self) {
        self.without_actor.fetch_add(1, Relaxed);
    }

    pub(super) fn unaudited_writes(&self, writes: usize) {
        self.unaudited_writes.fetch_add(writes as u64, Relaxed);
    }

    pub(super) fn oversized(&self) {
        self.oversized.fetch_add(1, Relaxed);
    }

    pub(super) fn read(&self, status: QueueStatus) -> AuditorStats {
        AuditorStats {
            published: self.published.load(Relaxed),
            failed: self.failed.load(Relaxed),
            discarded: self.discarded.load(Relaxed),
            in_doubt: self.in_doubt.load(Relaxed),
            detached: self.detached.load(Relaxed),
            left: self.left.load(Relaxed),
            without_actor: self.without_actor.load(Relaxed),
            oversized: self.oversized.load(Relaxed),
            unaudited_writes: self.unaudited_writes.load(Relaxed),
            sent_again: self.delivery.sent_again.load(Relaxed),
            dropped: self.delivery.dropped.load(Relaxed),
            panics: self.delivery.panics.count(),
            workers: status.workers,
            journal: status.journal,
            memory: status.memory,
        }
    }
}
