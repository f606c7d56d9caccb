//! A pass over the queue: batch after batch, peeked, delivered and only then acknowledged.

use std::time::{Duration, Instant};

use audit_core::{Batch, Payload, QueueError};

use super::ahead::{self, Ready};
use super::failure::Failure;
use super::run::Run;
use super::suspicion::Suspicion;
use super::{Delivery, Sink, Tally};
use crate::failpoint::failpoint;

/// Where payloads keep coming, those of this long are delivered at once, as small batches cost as
/// much as large ones; or of the interval, where that is shorter.
const LONGEST_REST: Duration = Duration::from_secs(1);

/// A batch of fewer bytes is small: there was no more to peek at. A larger one may have been cut off.
const SMALL_BYTES: usize = 4 << 20;

/// How a pass over the queue ended.
pub(super) enum Pass {
    Empty,
    /// What is left has to wait: another worker is at it, or it was put off.
    Waiting,
    Stopped,
}

/// What one batch leaves to be done beside the next one.
struct Carry<P> {
    /// Delivered, and not acknowledged yet.
    delivered: Option<Delivered>,
    /// What stood behind it.
    next: Option<Ready<P>>,
    /// Whether that was all.
    was_small: bool,
}

struct Delivered {
    batch: Batch,
    tally: Tally,
}

impl<S: Sink> Run<S> {
    /// Delivers batch after batch until the queue is empty.
    pub(super) fn drain(&mut self) -> Result<Pass, Failure> {
        self.flush_seen = self.shared.lock().flush_asked;
        let mut carry = Carry {
            delivered: None,
            next: None,
            was_small: false,
        };
        loop {
            let stop = self.shared.lock().stop;
            if stop || carry.next.is_none() {
                self.settle(&mut carry)?;
            }
            if stop || (carry.was_small && self.rest()) {
                return Ok(Pass::Stopped);
            }
            let end = match self.limit() {
                Some(limit) => self.deliver_few(limit)?,
                None => self.step(&mut carry)?,
            };
            if let Some(end) = end {
                return Ok(end);
            }
        }
    }

    /// How many payloads to take at once, where that is fewer than usual.
    fn limit(&self) -> Option<usize> {
        let limits = [self.suspicion.limit(), self.batch_limit.limit()];
        limits.into_iter().flatten().min()
    }

    /// Lets payloads gather, unless somebody waits for them. Says whether to end.
    fn rest(&mut self) -> bool {
        if self.shared.lock().flush_waiting > 0 {
            return false;
        }
        // The queue may never be empty.
        self.check();
        self.pause(self.shared.settings.interval.min(LONGEST_REST))
    }

    /// Delivers a batch, and says so where the pass ends with it.
    fn step(&mut self, carry: &mut Carry<S::Prepared>) -> Result<Option<Pass>, Failure> {
        self.note_flush()?;
        let current = match carry.next.take() {
            Some(next) => next,
            None => self.peek_and_prepare()?,
        };
        if current.batch.is_empty() {
            return Ok(Some(Pass::Empty));
        }
        let before = carry.delivered.as_ref().map(|delivered| &delivered.batch);
        let outcome = ahead::deliver(&self.shared, &mut self.sink, before, current);
        let batch = outcome.batch;
        self.settled(carry, outcome.acknowledged, &batch)?;
        let delivery = outcome.delivery;
        let tally = match delivery.map_err(|error| self.suspect(&batch.payloads, error))? {
            Delivery::StandBy(at_work) => return Ok(Some(self.stands_by(&batch, at_work))),
            Delivery::Done(tally) => tally,
        };
        self.stand_by.ended();
        failpoint!(self.shared.settings.name, "delivered");
        self.suspicion = Suspicion::default();
        self.batch_limit.delivered(self.shared.settings.batch_size);
        let put_off = tally.put_off.len();
        let all_wait = put_off == batch.len();
        carry.was_small = self.is_small(&batch.payloads);
        // What is put off goes into the queue again, before anything else happens to it.
        carry.next = outcome.next.filter(|_| put_off == 0);
        carry.delivered = Some(Delivered { batch, tally });
        if all_wait {
            self.settle(carry)?;
            return Ok(Some(Pass::Waiting));
        }
        Ok(None)
    }

    pub(super) fn stands_by(&mut self, batch: &Batch, at_work: Option<String>) -> Pass {
        if let Some(first) = batch.payloads.first() {
            self.stand_by.seen(Instant::now(), first, at_work);
        }
        Pass::Waiting
    }

    fn is_small(&self, payloads: &[Payload]) -> bool {
        let bytes: usize = payloads.iter().map(|it| it.as_bytes().len()).sum();
        payloads.len() < self.shared.settings.batch_size && bytes < SMALL_BYTES
    }

    fn peek_and_prepare(&mut self) -> Result<Ready<S::Prepared>, String> {
        let batch = self.peek(self.shared.settings.batch_size)?;
        Ok(Ready::new::<S>(batch))
    }

    pub(super) fn peek(&mut self, limit: usize) -> Result<Batch, String> {
        let batch = self.shared.queue.peek(limit).map_err(text)?;
        failpoint!(self.shared.settings.name, "peeked");
        self.flushes.peeked(&batch.payloads);
        self.flushed();
        Ok(batch)
    }

    /// Takes note of what was acknowledged beside the delivery of `current`.
    fn settled(
        &mut self,
        carry: &mut Carry<S::Prepared>,
        acknowledged: Option<Result<usize, QueueError>>,
        current: &Batch,
    ) -> Result<(), String> {
        let Some(acknowledged) = acknowledged else {
            return self.settle(carry);
        };
        let removed = acknowledged.map_err(text)?;
        if let Some(Delivered { batch, tally }) = carry.delivered.take() {
            self.acknowledged(&tally, removed);
            if removed == batch.len() {
                self.flushes.peeked(&current.payloads);
            }
        }
        Ok(())
    }

    /// Acknowledges what is delivered.
    fn settle(&mut self, carry: &mut Carry<S::Prepared>) -> Result<(), String> {
        match carry.delivered.take() {
            Some(Delivered { batch, tally }) => self.acknowledge(&batch, &tally),
            None => Ok(()),
        }
    }

    pub(super) fn acknowledge(&mut self, batch: &Batch, tally: &Tally) -> Result<(), String> {
        let queue = &self.shared.queue;
        if !tally.put_off.is_empty() {
            // Pushed before it is acknowledged: it may be there twice, and never not at all.
            queue.put_off(&tally.put_off).map_err(text)?;
            self.flushes.put_off(queue.len().map_err(text)?);
        }
        let removed = ahead::acknowledge(&self.shared, batch).map_err(text)?;
        self.acknowledged(tally, removed);
        Ok(())
    }

    fn acknowledged(&mut self, tally: &Tally, removed: usize) {
        self.flushes.acknowledged(removed);
        self.count(tally);
        // Not before it is counted: who waits for a flush may look at the counts.
        self.flushed();
    }

    /// A flush that is asked for is done once what waits now is gone.
    pub(super) fn note_flush(&mut self) -> Result<(), String> {
        let asked = self.shared.lock().flush_asked;
        if asked > self.flushes.noted() {
            self.flush_seen = asked;
            let length = self.shared.queue.len().map_err(text)?;
            self.flushes.note(asked, length);
        }
        Ok(())
    }

    fn flushed(&mut self) {
        if let Some(ticket) = self.flushes.done() {
            self.shared.lock().flush_done = ticket;
            self.shared.changed.notify_all();
        }
    }

    fn count(&mut self, tally: &Tally) {
        self.works();
        let mut state = self.shared.lock();
        let stats = &mut state.stats;
        stats.stored += tally.stored as u64;
        stats.duplicates += tally.duplicates as u64;
        stats.quarantined += tally.quarantined as u64;
        stats.poison += tally.poison as u64;
        stats.contradicting += tally.contradicting as u64;
        stats.rolled_back += tally.rolled_back as u64;
        stats.batches += 1;
        stats.note_success();
    }
}

fn text(error: QueueError) -> String {
    error.to_string()
}
