//! A pass over the queue: batch after batch, peeked, delivered and only then acknowledged.

use audit_core::{Batch, QueueError};

use super::run::Run;
use super::suspicion::Suspicion;
use super::{Delivery, Sink, Tally};
use crate::failpoint::failpoint;

/// How a pass over the queue ended.
pub(super) enum Pass {
    Empty,
    /// What is left has to wait: another worker is at it, or it was put off.
    Waiting,
    Stopped,
}

impl<S: Sink> Run<S> {
    /// Delivers batch after batch until the queue is empty.
    pub(super) fn drain(&mut self) -> Result<Pass, String> {
        self.flush_seen = self.shared.lock().flush_asked;
        loop {
            if self.shared.lock().stop {
                return Ok(Pass::Stopped);
            }
            if let Some(limit) = self.suspicion.limit() {
                if let Some(end) = self.deliver_few(limit)? {
                    return Ok(end);
                }
                continue;
            }
            self.note_flush()?;
            let batch = self.peek(self.shared.settings.batch_size)?;
            if batch.is_empty() {
                return Ok(Pass::Empty);
            }
            let delivered = self.sink.deliver(&batch.payloads);
            let delivered = delivered.map_err(|error| self.suspect(&batch.payloads, error));
            let tally = match delivered? {
                Delivery::StandBy => return Ok(Pass::Waiting),
                Delivery::Done(tally) => tally,
            };
            failpoint!(self.shared.settings.name, "delivered");
            self.acknowledge(&batch, &tally)?;
            failpoint!(self.shared.settings.name, "acknowledged");
            self.suspicion = Suspicion::default();
            self.count(&tally);
            // Not before it is counted: who waits for a flush may look at the counts.
            self.flushed();
            if tally.put_off.len() == batch.len() {
                return Ok(Pass::Waiting);
            }
        }
    }

    pub(super) fn peek(&mut self, limit: usize) -> Result<Batch, String> {
        let batch = self.shared.queue.peek(limit).map_err(text)?;
        failpoint!(self.shared.settings.name, "peeked");
        self.flushes.peeked(&batch.payloads);
        self.flushed();
        Ok(batch)
    }

    pub(super) fn acknowledge(&mut self, batch: &Batch, tally: &Tally) -> Result<(), String> {
        let queue = &self.shared.queue;
        if !tally.put_off.is_empty() {
            // Pushed before it is acknowledged: it may be there twice, and never not at all.
            queue.push(&tally.put_off).map_err(text)?;
            self.flushes.put_off(queue.len().map_err(text)?);
        }
        self.flushes.acknowledged(queue.ack(batch).map_err(text)?);
        Ok(())
    }

    /// A flush that is asked for is done once what waits now is gone.
    pub(super) fn note_flush(&mut self) -> Result<(), String> {
        let asked = self.shared.lock().flush_asked;
        if asked > self.flushes.noted() {
            let length = self.shared.queue.len().map_err(text)?;
            self.flushes.note(asked, length);
        }
        Ok(())
    }

    pub(super) fn flushed(&mut self) {
        if let Some(ticket) = self.flushes.done() {
            self.shared.lock().flush_done = ticket;
            self.shared.changed.notify_all();
        }
    }

    pub(super) fn count(&mut self, tally: &Tally) {
        self.failures = 0;
        let mut state = self.shared.lock();
        let stats = &mut state.stats;
        stats.stored += tally.stored as u64;
        stats.duplicates += tally.duplicates as u64;
        stats.quarantined += tally.quarantined as u64;
        stats.poison += tally.poison as u64;
        stats.rolled_back += tally.rolled_back as u64;
        stats.batches += 1;
        stats.last_error = None;
    }
}

fn text(error: QueueError) -> String {
    error.to_string()
}
