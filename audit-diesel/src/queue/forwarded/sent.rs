//! The two parts of a journal that is carried on: what was not carried yet, and what was.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use audit_core::{Batch, Payload, Queue, QueueError};

use super::carrier::Carrier;
use super::evidence::{Evidence, highest_left};
use crate::queue::forward::Fit;
use crate::queue::journal::Journal;

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
    fit: Arc<Fit>,
    carrier: Arc<Carrier>,
    evidence: Mutex<Evidence>,
}

impl Sent {
    pub(super) fn new(
        journal: Journal,
        target: &Arc<dyn Queue>,
        fit: &Arc<Fit>,
        carrier: &Arc<Carrier>,
        grace: Duration,
    ) -> Self {
        Self {
            journal,
            target: Arc::clone(target),
            fit: Arc::clone(fit),
            carrier: Arc::clone(carrier),
            evidence: Mutex::new(Evidence::new(grace)),
        }
    }

    /// Finds out how far what was carried on has left the target.
    fn left_to(&self) -> Result<i64, QueueError> {
        let sent_to = self.journal.sent_to()?;
        let now = Instant::now();
        let due = {
            let mut evidence = self.evidence();
            evidence.note(sent_to, now);
            evidence.due(now)
        };
        let mut unaskable = None;
        let left_to = highest_left(&due, |sent_to| match self.has_left(sent_to) {
            // The target takes no such payload, so that it cannot be asked for it either.
            Err(QueueError::Closed { .. }) => {
                unaskable = Some(sent_to);
                self.target.is_empty()
            }
            answer => answer,
        })?;
        let mut evidence = self.evidence();
        if let Some(left_to) = left_to {
            evidence.left(left_to);
        }
        if let Some(sent_to) = unaskable {
            evidence.forget(sent_to);
        }
        Ok(evidence.left_to())
    }

    /// Whether the target no longer holds what was carried last at that time.
    fn has_left(&self, sent_to: i64) -> Result<bool, QueueError> {
        let last = self.journal.peek_sent(sent_to - 1..sent_to, 1)?;
        match last.payloads.first() {
            Some(last) => Ok(!self.target.may_hold(&self.fit.fitting(last))?),
            // The journal gives up the oldest first, so that all before it is confirmed as well.
            None => Ok(true),
        }
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
