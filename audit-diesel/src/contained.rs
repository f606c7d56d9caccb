//! A panic of a queue is an error of it: counted, and said aloud.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use audit_core::{Batch, Payload, Queue, QueueError, QueueOwner, QueueStatus, Warning};

use crate::log::{Seldom, log};
use crate::panics::caught;

/// How often the queue, or what it is made of, has panicked.
#[derive(Debug, Default)]
pub(crate) struct Panics {
    count: AtomicU64,
    said: Seldom,
}

impl Panics {
    pub(crate) fn count(&self) -> u64 {
        self.count.load(Relaxed)
    }

    /// Makes this call of a queue; where it panics, the queue counts as away.
    pub(crate) fn contain<T>(
        &self,
        queue: impl FnOnce() -> String,
        call: &'static str,
        run: impl FnOnce() -> Result<T, QueueError>,
    ) -> Result<T, QueueError> {
        caught(run).unwrap_or_else(|problem| Err(self.note(queue(), call, &problem)))
    }

    /// As [`contain`](Self::contain), and makes the call once more where it panics: what is done twice
    /// by that has to do no harm.
    #[cfg(all(feature = "redis", feature = "journal"))]
    pub(crate) fn contain_and_retry<T>(
        &self,
        queue: impl Fn() -> String,
        call: &'static str,
        run: impl Fn() -> Result<T, QueueError>,
    ) -> Result<T, QueueError> {
        caught(&run).unwrap_or_else(|problem| {
            self.note(queue(), call, &problem);
            self.contain(queue, call, run)
        })
    }

    /// Counts a panic and says it; the error that it is.
    fn note(&self, queue: String, call: &'static str, problem: &str) -> QueueError {
        self.count.fetch_add(1, Relaxed);
        if self.said.is_due() {
            log!(error, queue, call, problem, "a queue panicked");
        }
        let reason = format!("its `{call}` panicked: {problem}");
        QueueError::Unavailable { queue, reason }
    }
}

/// A queue whose panics are errors: it counts as away then. Each method of the trait is passed on,
/// also those that have a default.
pub(crate) struct ContainedQueue {
    queue: Arc<dyn Queue>,
    /// Asked once.
    name: String,
    panics: Arc<Panics>,
}

impl ContainedQueue {
    pub(crate) fn around(queue: Arc<dyn Queue>, panics: &Arc<Panics>) -> Self {
        let name = caught(|| queue.name());
        Self {
            name: name.unwrap_or_else(|_| "a queue without a name".to_owned()),
            queue,
            panics: Arc::clone(panics),
        }
    }

    fn contain<T>(
        &self,
        call: &'static str,
        run: impl FnOnce(&dyn Queue) -> Result<T, QueueError>,
    ) -> Result<T, QueueError> {
        let name = || self.name.clone();
        self.panics.contain(name, call, || run(&*self.queue))
    }
}

impl Queue for ContainedQueue {
    fn name(&self) -> String {
        self.name.clone()
    }

    fn push(&self, payloads: &[Payload]) -> Result<(), QueueError> {
        self.contain("push", |queue| queue.push(payloads))
    }

    fn peek(&self, limit: usize) -> Result<Batch, QueueError> {
        self.contain("peek", |queue| queue.peek(limit))
    }

    fn peek_behind(&self, batch: &Batch, limit: usize) -> Result<Batch, QueueError> {
        self.contain("peek_behind", |queue| queue.peek_behind(batch, limit))
    }

    fn ack(&self, batch: &Batch) -> Result<usize, QueueError> {
        self.contain("ack", |queue| queue.ack(batch))
    }

    fn put_off(&self, payloads: &[Payload]) -> Result<(), QueueError> {
        self.contain("put_off", |queue| queue.put_off(payloads))
    }

    fn len(&self) -> Result<u64, QueueError> {
        self.contain("len", |queue| queue.len())
    }

    fn is_empty(&self) -> Result<bool, QueueError> {
        self.contain("is_empty", |queue| queue.is_empty())
    }

    fn may_hold(&self, payload: &Payload) -> Result<bool, QueueError> {
        self.contain("may_hold", |queue| queue.may_hold(payload))
    }

    fn wants_owner(&self) -> bool {
        self.contain("wants_owner", |queue| Ok(queue.wants_owner()))
            .unwrap_or_default()
    }

    fn belong_to(&self, owner: &QueueOwner) -> Result<(), QueueError> {
        self.contain("belong_to", |queue| queue.belong_to(owner))
    }

    fn claim(&self) -> Result<(), QueueError> {
        self.contain("claim", |queue| queue.claim())
    }

    fn settle(&self, timeout: Duration) -> Result<(), QueueError> {
        self.contain("settle", |queue| queue.settle(timeout))
    }

    fn control(
        &self,
        bytes: usize,
        at_least: Duration,
        is_stopped: &dyn Fn() -> bool,
    ) -> Result<(), QueueError> {
        self.contain("control", |queue| {
            queue.control(bytes, at_least, is_stopped)
        })
    }

    fn warnings(&self) -> Result<Vec<Warning>, QueueError> {
        self.contain("warnings", |queue| queue.warnings())
    }

    fn status(&self) -> QueueStatus {
        self.contain("status", |queue| Ok(queue.status()))
            .unwrap_or_default()
    }
}

#[cfg(all(test, feature = "redis", feature = "journal"))]
#[expect(clippy::panic, reason = "it is what is tested")]
mod tests {
    use std::cell::Cell;

    use super::*;

    /// A call that panics so many times, and then answers how often it was made.
    fn after(panics: u32) -> (Result<u32, QueueError>, u64) {
        let (counted, calls) = (Panics::default(), Cell::new(0));
        let answer = counted.contain_and_retry(
            || "a queue".to_owned(),
            "push",
            || {
                calls.set(calls.get() + 1);
                match calls.get() > panics {
                    true => Ok(calls.get()),
                    false => panic!("no provider"),
                }
            },
        );
        (answer, counted.count())
    }

    #[test]
    fn a_call_that_panics_is_made_once_more_and_not_again() {
        assert_eq!(after(0), (Ok(1), 0));
        assert_eq!(after(1), (Ok(2), 1));
        let (answer, counted) = after(2);
        assert!(matches!(answer, Err(QueueError::Unavailable { .. })));
        assert_eq!(counted, 2);
    }
}
