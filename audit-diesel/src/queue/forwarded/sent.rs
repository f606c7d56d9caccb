//! The two parts of a journal that is carried on: what was not carried yet, and what was.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use audit_core::{Batch, Payload, Queue, QueueError, Record};

use super::carrier::Carrier;
use super::evidence::{Evidence, Head};
use crate::queue::journal::{Journal, now_ms};

/// What was not carried on yet. Acknowledged, it stays in the journal until it is confirmed.
pub(super) struct Unsent(pub(super) Journal);

impl Queue for Unsent {
    fn name(&self) -> String {
        self.0.name()
    }

    fn push(&self, payloads: &[Payload]) -> Result<(), QueueError> {
        self.0.push(payloads)
    }

    fn peek(&self, limit: usize) -> Result<Batch, QueueError> {
        self.0.peek_unsent(limit)
    }

    fn ack(&self, batch: &Batch) -> Result<usize, QueueError> {
        self.0.mark_sent(batch)
    }

    fn len(&self) -> Result<u64, QueueError> {
        self.0.count_unsent()
    }
}

/// What was carried on and has left the target since.
pub(super) struct Sent {
    journal: Journal,
    target: Arc<dyn Queue>,
    carrier: Arc<Carrier>,
    evidence: Mutex<Evidence>,
}

impl Sent {
    pub(super) fn new(
        journal: Journal,
        target: &Arc<dyn Queue>,
        carrier: &Arc<Carrier>,
        grace: Duration,
    ) -> Self {
        Self {
            journal,
            target: Arc::clone(target),
            carrier: Arc::clone(carrier),
            evidence: Mutex::new(Evidence::new(grace)),
        }
    }

    /// Finds out how far what was carried on has left the target.
    fn left_to(&self) -> Result<i64, QueueError> {
        let sent_to = self.journal.sent_to()?;
        let now = Instant::now();
        let wanted = {
            let mut evidence = self.evidence();
            evidence.note(sent_to, now, now_ms());
            evidence.is_wanted(now)
        };
        if wanted {
            let head = head(&self.target.peek(LOOKED_AT)?);
            self.evidence().saw(head, now);
        }
        Ok(self.evidence().left_to())
    }

    fn evidence(&self) -> MutexGuard<'_, Evidence> {
        self.evidence.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Queue for Sent {
    fn name(&self) -> String {
        self.journal.name()
    }

    fn push(&self, payloads: &[Payload]) -> Result<(), QueueError> {
        self.journal.push(payloads)
    }

    fn peek(&self, limit: usize) -> Result<Batch, QueueError> {
        // An idle process claims nothing.
        if self.journal.is_empty()? || !self.carrier.is_it()? {
            return Ok(Batch::default());
        }
        self.journal.peek_sent(0..self.left_to()?, limit)
    }

    fn ack(&self, batch: &Batch) -> Result<usize, QueueError> {
        self.journal.ack(batch)
    }

    fn len(&self) -> Result<u64, QueueError> {
        self.journal.len()
    }
}

/// How many of the target's first records are looked at.
const LOOKED_AT: usize = 64;

/// The first record that keeps its place: one whose transaction has not ended goes to the end of
/// the queue again and again.
fn head(batch: &Batch) -> Head {
    for payload in &batch.payloads {
        match Record::decode(payload.as_bytes()) {
            Ok(record) if record.unsettled.is_none() => {
                return Head::MadeAt(record.occurred_at / 1_000);
            }
            Ok(_) => {}
            Err(_) => return Head::Unknown,
        }
    }
    if batch.len() < LOOKED_AT {
        Head::Empty
    } else {
        Head::Unknown
    }
}
