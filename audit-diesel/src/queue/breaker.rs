//! Keeps callers from waiting, one after the other, for a queue that is away.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use audit_core::{Payload, Queue, QueueError};

/// How soon after a failure the queue is tried again.
const PAUSE: Duration = Duration::from_secs(1);

/// Pushes to a queue, unless it has just been away.
pub(super) struct Breaker {
    queue: Arc<dyn Queue>,
    retry_at: Mutex<Option<Instant>>,
}

impl Breaker {
    pub(super) fn new(queue: Arc<dyn Queue>) -> Self {
        Self {
            queue,
            retry_at: Mutex::new(None),
        }
    }

    pub(super) fn push(&self, payloads: &[Payload]) -> Result<(), QueueError> {
        if !self.may_try() {
            return Err(QueueError::Unavailable {
                queue: self.queue.name(),
                reason: format!("it was away less than {PAUSE:?} ago"),
            });
        }
        let pushed = self.queue.push(payloads);
        let refused = matches!(pushed, Err(QueueError::TooLarge { .. }));
        let healthy = pushed.is_ok() || refused;
        *self.lock() = (!healthy).then(|| Instant::now() + PAUSE);
        pushed
    }

    /// One caller tries; until that one knows better, the others do not.
    fn may_try(&self) -> bool {
        let mut retry_at = self.lock();
        match *retry_at {
            None => true,
            Some(at) if at <= Instant::now() => {
                *retry_at = Some(Instant::now() + PAUSE);
                true
            }
            Some(_) => false,
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Instant>> {
        self.retry_at.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
