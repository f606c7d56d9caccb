//! Keeps the panics of what we call from whoever calls us: a queue, a TLS library, a `tracing`
//! subscriber. A queue is pushed to inside of the application's COMMIT, where a panic would look as
//! if the COMMIT had failed.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use audit_core::{Batch, Payload, Queue, QueueError, QueueOwner, QueueStatus, Warning};

use crate::auditor::DeliveryCounters;
use crate::log::{Seldom, log};

/// Runs it; a panic becomes its message.
pub(crate) fn caught<T>(run: impl FnOnce() -> T) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(run)).map_err(message)
}

/// What a panic said. It is disposed of: to drop what somebody panicked with runs their code, which
/// may panic again.
pub(crate) fn message(panic: Box<dyn Any + Send>) -> String {
    let said = panic
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| panic.downcast_ref::<String>().cloned());
    if let Err(again) = catch_unwind(AssertUnwindSafe(|| drop(panic))) {
        // Nobody can say how often that would go on; it leaks instead.
        std::mem::forget(again);
    }
    said.unwrap_or_else(|| "a panic without a message".to_owned())
}

/// A queue whose panics are errors: it counts as away then. Each method of the trait is passed on,
/// also those that have a default.
pub(crate) struct ContainedQueue {
    queue: Arc<dyn Queue>,
    /// Asked once.
    name: String,
    counters: Arc<DeliveryCounters>,
    said: Seldom,
}

impl ContainedQueue {
    pub(crate) fn around(queue: Arc<dyn Queue>, counters: &Arc<DeliveryCounters>) -> Self {
        let name = caught(|| queue.name());
        Self {
            name: name.unwrap_or_else(|_| "a queue without a name".to_owned()),
            queue,
            counters: Arc::clone(counters),
            said: Seldom::default(),
        }
    }

    fn contain<T>(
        &self,
        call: &'static str,
        run: impl FnOnce(&dyn Queue) -> Result<T, QueueError>,
    ) -> Result<T, QueueError> {
        caught(|| run(&*self.queue)).unwrap_or_else(|problem| {
            self.counters.panicked();
            if self.said.is_due() {
                log!(error, queue = self.name, call, problem, "a queue panicked");
            }
            Err(QueueError::Unavailable {
                queue: self.name.clone(),
                reason: format!("its `{call}` panicked: {problem}"),
            })
        })
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

#[cfg(test)]
#[expect(clippy::panic, reason = "tests")]
mod tests {
    use std::panic::panic_any;

    use super::*;

    struct Bomb(u32);

    impl Drop for Bomb {
        fn drop(&mut self) {
            if self.0 > 0 {
                panic_any(Self(self.0 - 1));
            }
        }
    }

    #[test]
    fn what_somebody_panicked_with_may_panic_when_it_is_dropped() {
        assert_eq!(caught(|| 1), Ok(1));
        let said = caught(|| panic!("number {}", 7));
        assert_eq!(said, Err::<(), _>("number 7".to_owned()));
        let said = caught(|| panic_any(Bomb(3)));
        assert_eq!(said, Err::<(), _>("a panic without a message".to_owned()));
    }
}
