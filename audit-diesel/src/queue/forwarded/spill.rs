//! Where records go that the journal does not take: it is full, cannot be written, or is damaged.

use std::sync::Arc;
use std::time::Duration;

use audit_core::{Batch, Payload, Queue, QueueError};

use crate::queue::Target;
use crate::queue::journal::Journal;

/// Takes what waited in memory: the journal, once it does again, or else what the journal is
/// carried to.
pub(super) struct Spill {
    journal: Journal,
    target: Arc<dyn Queue>,
}

impl Spill {
    /// Callers, whose records the journal has just refused, go straight to the target.
    pub(super) fn of(journal: Journal, target: &Target) -> Target {
        let spill = Self {
            journal,
            target: Arc::clone(&target.queue),
        };
        Target {
            queue: Arc::new(spill),
            direct: Arc::clone(&target.direct),
            signing_key: target.signing_key.clone(),
        }
    }
}

impl Queue for Spill {
    fn name(&self) -> String {
        self.target.name()
    }

    fn push(&self, payloads: &[Payload]) -> Result<(), QueueError> {
        let refused = self.journal.push(payloads);
        refused.or_else(|_| self.target.push(payloads))
    }

    fn peek(&self, limit: usize) -> Result<Batch, QueueError> {
        self.target.peek(limit)
    }

    fn ack(&self, batch: &Batch) -> Result<usize, QueueError> {
        self.target.ack(batch)
    }

    fn len(&self) -> Result<u64, QueueError> {
        self.target.len()
    }

    fn control(
        &self,
        bytes: usize,
        at_least: Duration,
        is_stopped: &dyn Fn() -> bool,
    ) -> Result<(), QueueError> {
        self.target.control(bytes, at_least, is_stopped)
    }
}
