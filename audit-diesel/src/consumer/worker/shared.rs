//! What a worker's thread and its handle share.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use audit_core::Queue;

use super::super::FlushError;
use super::super::stats::ConsumerStats;

#[derive(Debug, Clone)]
pub(crate) struct Settings {
    pub(crate) name: &'static str,
    pub(crate) batch_size: usize,
    pub(crate) interval: Duration,
    /// How soon a worker that stands by looks again: the one at work may have died, or have
    /// another queue to empty.
    pub(crate) stand_by: Duration,
    /// The longest wait after failures in a row.
    pub(crate) longest_backoff: Duration,
}

pub(super) struct Shared {
    pub(super) queue: Arc<dyn Queue>,
    pub(super) settings: Settings,
    state: Mutex<State>,
    pub(super) changed: Condvar,
}

#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) stop: bool,
    /// Counts the flushes asked for, and those done.
    pub(super) flush_asked: u64,
    pub(super) flush_done: u64,
    /// How many calls wait for a flush now.
    pub(super) flush_waiting: usize,
    pub(super) stats: ConsumerStats,
}

impl State {
    pub(super) fn is_ended(&self) -> bool {
        self.stop || !self.stats.running
    }
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared")
            .field("queue", &self.queue.name())
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}

impl Shared {
    pub(super) fn new(queue: Arc<dyn Queue>, settings: Settings) -> Self {
        Self {
            queue,
            state: Mutex::new(State {
                stats: ConsumerStats {
                    running: true,
                    ..ConsumerStats::default()
                },
                ..State::default()
            }),
            changed: Condvar::new(),
            settings,
        }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        // Every change of the state is complete before anything can panic.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn wait_for<'a>(
        &self,
        mut state: MutexGuard<'a, State>,
        ticket: u64,
        started: Instant,
        timeout: Duration,
    ) -> (MutexGuard<'a, State>, Result<(), FlushError>) {
        loop {
            if state.flush_done >= ticket {
                return (state, Ok(()));
            }
            if state.is_ended() {
                return (state, Err(FlushError::Stopped));
            }
            let left = timeout.saturating_sub(started.elapsed());
            if left.is_zero() {
                let error = FlushError::Timeout {
                    waited: timeout,
                    last_error: state.stats.last_error.clone(),
                };
                return (state, Err(error));
            }
            state = self.wait(state, left);
        }
    }

    pub(super) fn wait<'a>(
        &self,
        state: MutexGuard<'a, State>,
        timeout: Duration,
    ) -> MutexGuard<'a, State> {
        self.changed
            .wait_timeout(state, timeout)
            .unwrap_or_else(PoisonError::into_inner)
            .0
    }
}
