use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// What an auditor did since it was built.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct AuditorStats {
    /// Records that the queue took.
    pub published: u64,
    /// Records that the queue did not take. They are lost; anything but 0 wants a look.
    pub failed: u64,
    /// Records whose transaction was rolled back.
    pub discarded: u64,
    /// Statements and events that ran without an actor in force.
    pub without_actor: u64,
    /// Records whose values were replaced by their sizes.
    pub oversized: u64,
    /// Raw writes to audited tables that the guard noticed, in [`GuardMode::Record`](crate::GuardMode::Record).
    pub unaudited_writes: u64,
}

#[derive(Debug, Default)]
pub(super) struct Counters {
    published: AtomicU64,
    failed: AtomicU64,
    discarded: AtomicU64,
    without_actor: AtomicU64,
    oversized: AtomicU64,
    unaudited_writes: AtomicU64,
}

impl Counters {
    pub(super) fn published(&self, records: usize) {
        self.published.fetch_add(records as u64, Relaxed);
    }

    pub(super) fn failed(&self, records: usize) {
        self.failed.fetch_add(records as u64, Relaxed);
    }

    pub(super) fn discarded(&self, records: usize) {
        self.discarded.fetch_add(records as u64, Relaxed);
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

    pub(super) fn read(&self) -> AuditorStats {
        AuditorStats {
            published: self.published.load(Relaxed),
            failed: self.failed.load(Relaxed),
            discarded: self.discarded.load(Relaxed),
            without_actor: self.without_actor.load(Relaxed),
            oversized: self.oversized.load(Relaxed),
            unaudited_writes: self.unaudited_writes.load(Relaxed),
        }
    }
}
