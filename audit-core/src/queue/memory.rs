use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{Backlog, Batch, Queue, QueueError, QueueStatus};
use crate::payload::Payload;
use crate::record::Record;
use crate::wire::DecodeError;

/// A queue in memory, for tests: what it holds ends with the process.
///
/// Clones share the same queue.
#[derive(Debug, Clone)]
pub struct MemoryQueue {
    state: Arc<Mutex<State>>,
    max_bytes: u64,
    max_payload_bytes: usize,
}

#[derive(Debug, Default)]
struct State {
    payloads: VecDeque<Payload>,
    bytes: u64,
    /// How many payloads were removed so far: the number of the one at the head.
    removed: u64,
}

impl Default for MemoryQueue {
    fn default() -> Self {
        Self::new()
    }
}

impl MemoryQueue {
    /// A queue of at most 64 MiB with payloads of at most 16 MiB.
    pub fn new() -> Self {
        Self {
            state: Arc::default(),
            max_bytes: 64 << 20,
            max_payload_bytes: 16 << 20,
        }
    }

    /// Sets the bound of all payloads together, in bytes.
    #[must_use]
    pub fn max_bytes(mut self, max_bytes: u64) -> Self {
        self.max_bytes = max_bytes;
        self
    }

    /// Sets the bound of one payload, in bytes.
    #[must_use]
    pub fn max_payload_bytes(mut self, max_payload_bytes: usize) -> Self {
        self.max_payload_bytes = max_payload_bytes;
        self
    }

    /// The records in the queue, oldest first; they stay there.
    ///
    /// # Errors
    ///
    /// [`DecodeError`] where a payload is no record.
    pub fn records(&self) -> Result<Vec<Record>, DecodeError> {
        let payloads: Vec<_> = self.lock().payloads.iter().cloned().collect();
        payloads
            .iter()
            .map(|payload| Record::decode(payload.as_bytes()))
            .collect()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Every change of the state is complete before anything can panic.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Queue for MemoryQueue {
    fn name(&self) -> String {
        "the memory queue".to_owned()
    }

    fn push(&self, payloads: &[Payload]) -> Result<(), QueueError> {
        let mut bytes = 0;
        for payload in payloads {
            let length = payload.as_bytes().len();
            if length > self.max_payload_bytes {
                return Err(QueueError::TooLarge {
                    queue: self.name(),
                    bytes: length,
                    max_bytes: self.max_payload_bytes,
                });
            }
            bytes += length as u64;
        }
        let mut state = self.lock();
        if state.bytes + bytes > self.max_bytes {
            return Err(QueueError::Full {
                queue: self.name(),
                max_bytes: self.max_bytes,
            });
        }
        state.bytes += bytes;
        state.payloads.extend(payloads.iter().cloned());
        Ok(())
    }

    fn peek(&self, limit: usize) -> Result<Batch, QueueError> {
        let state = self.lock();
        Ok(Batch {
            payloads: state.payloads.iter().take(limit).cloned().collect(),
            receipt: state.removed,
        })
    }

    fn peek_behind(&self, batch: &Batch, limit: usize) -> Result<Batch, QueueError> {
        let state = self.lock();
        if state.removed != batch.receipt {
            return Ok(Batch::default());
        }
        let behind = state.payloads.iter().skip(batch.len()).take(limit);
        Ok(Batch {
            payloads: behind.cloned().collect(),
            receipt: state.removed + batch.len() as u64,
        })
    }

    fn ack(&self, batch: &Batch) -> Result<usize, QueueError> {
        let mut state = self.lock();
        if state.removed != batch.receipt || state.payloads.len() < batch.len() {
            return Ok(0);
        }
        for payload in state.payloads.drain(..batch.len()).collect::<Vec<_>>() {
            state.bytes -= payload.as_bytes().len() as u64;
        }
        state.removed += batch.len() as u64;
        Ok(batch.len())
    }

    fn len(&self) -> Result<u64, QueueError> {
        Ok(self.lock().payloads.len() as u64)
    }

    fn status(&self) -> QueueStatus {
        let (records, bytes, oldest) = {
            let state = self.lock();
            let oldest = state.payloads.front().cloned();
            (state.payloads.len() as u64, state.bytes, oldest)
        };
        QueueStatus {
            memory: Some(Backlog::new(records, bytes, oldest.as_ref())),
            ..QueueStatus::default()
        }
    }
}
