//! Waiting for room in a full journal, shortly.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How often to look whether another process made room, which cannot tell us.
const LOOK: Duration = Duration::from_millis(10);

/// All callers wait for the same moment, so that a journal that stays full holds each of them up
/// no longer than one.
#[derive(Default)]
pub(super) struct Room {
    full_since: Mutex<Option<Instant>>,
    made: Condvar,
}

impl Room {
    /// Waits a moment for room. False once the journal has been full for `longest`.
    pub(super) fn wait(&self, longest: Duration) -> bool {
        let mut full_since = self.lock();
        let since = *full_since.get_or_insert_with(Instant::now);
        let left = longest.saturating_sub(since.elapsed());
        if left.is_zero() {
            return false;
        }
        let waited = self.made.wait_timeout(full_since, left.min(LOOK));
        drop(waited.unwrap_or_else(PoisonError::into_inner));
        true
    }

    /// A push found room.
    pub(super) fn found(&self) {
        *self.lock() = None;
    }

    /// Something was removed.
    pub(super) fn made(&self) {
        self.made.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, Option<Instant>> {
        self.full_since
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}
