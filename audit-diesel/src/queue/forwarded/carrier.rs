//! Which of the processes that share a journal carries it on.

use std::hash::{BuildHasher, RandomState};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use audit_core::QueueError;

use crate::log::log;
use crate::queue::journal::{Claim, Journal};

/// How long a process that died, or was suspended, keeps the others waiting.
const LEASE: Duration = Duration::from_secs(5);

/// A claim on carrying the journal on. It is a lease rather than a lock of the operating system:
/// a process that is suspended must not hold up the others.
///
/// Where two work all the same, as one was suspended in the middle of a push, records are carried
/// twice, and stored once.
pub(super) struct Carrier {
    journal: Journal,
    id: i64,
    renewed: Mutex<Option<Instant>>,
}

impl Carrier {
    pub(super) fn new(journal: Journal) -> Self {
        Self {
            journal,
            id: RandomState::new().hash_one(0_u8).cast_signed(),
            renewed: Mutex::new(None),
        }
    }

    /// Whether this process carries the journal on.
    pub(super) fn is_it(&self) -> Result<bool, QueueError> {
        self.claim().map(|claim| claim != Claim::Refused)
    }

    /// Whether this process carries the journal on, and did so before what it has just read there.
    pub(super) fn was_it(&self) -> Result<bool, QueueError> {
        self.claim().map(|claim| claim == Claim::Kept)
    }

    fn claim(&self) -> Result<Claim, QueueError> {
        if self.renewed().is_some_and(|at| at.elapsed() < lease() / 2) {
            return Ok(Claim::Kept);
        }
        let at = Instant::now();
        let claim = self.journal.claim(self.id, lease())?;
        self.note((claim != Claim::Refused).then_some(at));
        Ok(claim)
    }

    /// Lets the others try.
    pub(super) fn release(&self) {
        if self.renewed().is_none() {
            return;
        }
        self.note(None);
        if let Err(error) = self.journal.release(self.id) {
            log!(debug, %error, "the journal's lease runs out by itself");
        }
    }

    fn renewed(&self) -> Option<Instant> {
        *self.renewed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note(&self, renewed: Option<Instant>) {
        *self.renewed.lock().unwrap_or_else(PoisonError::into_inner) = renewed;
    }
}

#[cfg(not(feature = "failpoints"))]
const fn lease() -> Duration {
    LEASE
}

#[cfg(feature = "failpoints")]
fn lease() -> Duration {
    crate::failpoint::span("AUDIT_LEASE_MS", LEASE)
}
