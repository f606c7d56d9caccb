//! The loop that drains a queue into a sink, and its life: the consumer and the journal's
//! forwarder are both this.

mod ahead;
mod batch_limit;
mod drain;
mod failure;
mod isolate;
mod outage;
mod run;
mod shared;
mod sink;
mod stand_by;
mod suspicion;

use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use audit_core::{Queue, WorkerState, WorkerStatus};

use self::run::Run;
pub(crate) use self::shared::Settings;
use self::shared::Shared;
pub(crate) use self::sink::{Control, Delivery, Sink, Tally, Undelivered};
use super::stats::ConsumerStats;
use super::{FlushError, StopError};

use crate::log::log;
use crate::panics;

const STOP_TIMEOUT: Duration = Duration::from_secs(5);

/// A worker's thread and what it shares with its handle.
#[derive(Debug)]
pub(crate) struct Worker {
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Worker {
    /// Starts the thread.
    pub(crate) fn spawn(
        queue: Arc<dyn Queue>,
        sink: impl Sink,
        settings: Settings,
    ) -> std::io::Result<Self> {
        let shared = Arc::new(Shared::new(queue, settings));
        let run = Run::new(Arc::clone(&shared), sink);
        let thread = std::thread::Builder::new()
            .name(shared.settings.name.to_owned())
            .spawn(move || run.run())?;
        Ok(Self {
            shared,
            thread: Mutex::new(Some(thread)),
        })
    }

    /// Waits until everything that was in the queue at the call is delivered.
    pub(crate) fn flush(&self, timeout: Duration) -> Result<(), FlushError> {
        let started = Instant::now();
        if self.shared.lock().is_ended() {
            return Err(FlushError::Stopped);
        }
        // On the caller's thread, who has nothing to do with a panic of the queue.
        let settled = panics::caught(|| self.shared.queue.settle(timeout));
        if let Err(problem) = settled.and_then(|settled| settled.map_err(|e| e.to_string())) {
            return Err(FlushError::Timeout {
                waited: started.elapsed(),
                last_error: Some(problem),
            });
        }
        let mut state = self.shared.lock();
        state.flush_asked += 1;
        state.flush_waiting += 1;
        let ticket = state.flush_asked;
        self.shared.changed.notify_all();
        let (mut state, result) = self.shared.wait_for(state, ticket, started, timeout);
        state.flush_waiting -= 1;
        result
    }

    /// Asks the thread to end and waits for that.
    pub(crate) fn stop(&self) -> Result<(), StopError> {
        self.stop_within(STOP_TIMEOUT)
    }

    fn stop_within(&self, timeout: Duration) -> Result<(), StopError> {
        let deadline = Instant::now() + timeout;
        let mut state = self.shared.lock();
        state.stop = true;
        self.shared.changed.notify_all();
        while state.stats.running {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(StopError { waited: timeout });
            }
            state = self.shared.wait(state, left);
        }
        drop(state);
        let thread = self
            .thread
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some(thread) = thread {
            // The thread has said that it ends, and its panics are caught and counted.
            drop(thread.join().map_err(panics::message));
        }
        Ok(())
    }

    pub(crate) fn stats(&self) -> ConsumerStats {
        self.shared.lock().stats.clone()
    }

    /// Whether the thread works, and if not, since when and why.
    pub(crate) fn status(&self) -> WorkerStatus {
        let stats = self.stats();
        let state = match (stats.running, stats.failing_since) {
            (false, _) => WorkerState::Stopped,
            (true, None) => WorkerState::Running,
            (true, Some(since)) => WorkerState::Failing {
                since,
                reason: stats.last_error.unwrap_or_default(),
            },
        };
        WorkerStatus::new(self.shared.settings.name, state)
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        if let Err(error) = self.stop() {
            log!(warn, worker = self.shared.settings.name, %error, "dropped while it works");
        }
    }
}
