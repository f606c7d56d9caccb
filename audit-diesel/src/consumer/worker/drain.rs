//! A pass over the queue: batch after batch, peeked, delivered and only then acknowledged.

use audit_core::{Batch, QueueError};

use super::ahead::{self, Ready};
use super::run::Run;
use super::{Delivery, Sink, Tally};
use crate::failpoint::failpoint;

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
}

struct Delivered {
    batch: Batch,
    tally: Tally,
}

impl<S: Sink> Run<S> {
    /// Delivers batch after batch until the queue is empty.
    pub(super) fn drain(&mut self) -> Result<Pass, String> {
        self.flush_seen = self.shared.lock().flush_asked;
        let mut carry = Carry {
            delivered: None,
            next: None,
        };
        loop {
            if self.shared.lock().stop {
                self.settle(&mut carry)?;
                return Ok(Pass::Stopped);
            }
            if let Some(end) = self.step(&mut carry)? {
                return Ok(end);
            }
        }
    }

    /// Delivers a batch, and says so where the pass ends with it.
    fn step(&mut self, carry: &mut Carry<S::Prepared>) -> Result<Option<Pass>, String> {
        if carry.next.is_none() {
            self.settle(carry)?;
        }
        self.note_flush()?;
        let current = match carry.next.take() {
            Some(next) => next,
            None => self.peek()?,
        };
        if current.batch.is_empty() {
            return Ok(Some(Pass::Empty));
        }
        let before = carry.delivered.as_ref().map(|delivered| &delivered.batch);
        let outcome = ahead::deliver(&self.shared, &mut self.sink, before, current);
        if let Some(removed) = outcome.acknowledged
            && let Some(before) = carry.delivered.take()
        {
            let removed = removed.map_err(text)?;
            self.acknowledged(&before.tally, removed);
            if removed == before.batch.len() {
                self.flushes.peeked(&outcome.batch.payloads);
            }
        }
        self.settle(carry)?;
        let tally = match outcome.delivery? {
            Delivery::StandBy => return Ok(Some(Pass::Waiting)),
            Delivery::Done(tally) => tally,
        };
        failpoint!(self.shared.settings.name, "delivered");
        let put_off = tally.put_off.len();
        let is_all_put_off = put_off == outcome.batch.len();
        carry.next = outcome.next.filter(|_| put_off == 0);
        carry.delivered = Some(Delivered {
            batch: outcome.batch,
            tally,
        });
        if is_all_put_off {
            self.settle(carry)?;
            return Ok(Some(Pass::Waiting));
        }
        Ok(None)
    }

    fn peek(&mut self) -> Result<Ready<S::Prepared>, String> {
        let ready = ahead::peek::<S>(&self.shared).map_err(text)?;
        self.flushes.peeked(&ready.batch.payloads);
        self.flushed();
        Ok(ready)
    }

    /// Acknowledges what is delivered.
    fn settle(&mut self, carry: &mut Carry<S::Prepared>) -> Result<(), String> {
        let Some(Delivered { batch, tally }) = carry.delivered.take() else {
            return Ok(());
        };
        let queue = &self.shared.queue;
        if !tally.put_off.is_empty() {
            // Pushed before it is acknowledged: it may be there twice, and never not at all.
            queue.push(&tally.put_off).map_err(text)?;
            self.flushes.put_off(queue.len().map_err(text)?);
        }
        let removed = ahead::acknowledge(&self.shared, &batch).map_err(text)?;
        self.acknowledged(&tally, removed);
        Ok(())
    }

    fn acknowledged(&mut self, tally: &Tally, removed: usize) {
        self.flushes.acknowledged(removed);
        self.count(tally);
        // Not before it is counted: who waits for a flush may look at the counts.
        self.flushed();
    }

    /// A flush that is asked for is done once what waits now is gone.
    fn note_flush(&mut self) -> Result<(), String> {
        let asked = self.shared.lock().flush_asked;
        if asked > self.flushes.noted() {
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
        self.failures = 0;
        let mut state = self.shared.lock();
        let stats = &mut state.stats;
        stats.stored += tally.stored as u64;
        stats.duplicates += tally.duplicates as u64;
        stats.quarantined += tally.quarantined as u64;
        stats.rolled_back += tally.rolled_back as u64;
        stats.batches += 1;
        stats.last_error = None;
    }
}

fn text(error: QueueError) -> String {
    error.to_string()
}
