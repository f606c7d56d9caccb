//! The loop that drains a queue into a sink, and its life: the consumer and the journal's
//! forwarder are both this.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use audit_core::{Batch, Payload, Queue, QueueError, Warning};

use super::checks::Checks;
use super::flush::Flushes;
use super::stats::ConsumerStats;
use super::{FlushError, StopError, backoff};
use crate::failpoint::failpoint;

/// Where a worker puts what it takes from its queue.
pub(crate) trait Sink: Send + 'static {
    /// Is called once, on the worker's thread, before anything else.
    fn begin(&mut self) {}

    /// Delivers payloads, durably, before it returns. An error means that nothing is known to be
    /// delivered and that trying again later is right.
    fn deliver(&mut self, payloads: &[Payload]) -> Result<Delivery, String>;

    /// Looks for settings by which records could be lost on the way.
    fn warnings(&self) -> Result<Vec<Warning>, QueueError> {
        Ok(Vec::new())
    }
}

/// What became of a batch.
#[derive(Debug)]
pub(crate) enum Delivery {
    /// It is delivered, and can be acknowledged.
    Done(Tally),
    /// Another worker is at it.
    StandBy,
}

/// What a delivered batch consisted of.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) stored: usize,
    pub(crate) duplicates: usize,
    pub(crate) quarantined: usize,
    pub(crate) rolled_back: usize,
    /// Payloads that have to wait: they go to the end of the queue.
    pub(crate) put_off: Vec<Payload>,
}

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

const STOP_TIMEOUT: Duration = Duration::from_secs(5);
/// How soon a worker that stands by looks again while somebody waits for a flush.
const STAND_BY_FOR_FLUSH: Duration = Duration::from_millis(20);
/// The longest back-off while somebody waits for a flush, who would give up before the end of a
/// long one.
const BACKOFF_FOR_FLUSH: Duration = Duration::from_millis(500);

/// A worker's thread and what it shares with its handle.
#[derive(Debug)]
pub(crate) struct Worker {
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

struct Shared {
    queue: Arc<dyn Queue>,
    settings: Settings,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    stop: bool,
    /// Counts the flushes asked for, and those done.
    flush_asked: u64,
    flush_done: u64,
    /// How many calls wait for a flush now.
    flush_waiting: usize,
    stats: ConsumerStats,
}

impl State {
    fn is_ended(&self) -> bool {
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

impl Worker {
    /// Starts the thread.
    pub(crate) fn spawn(
        queue: Arc<dyn Queue>,
        sink: impl Sink,
        settings: Settings,
    ) -> std::io::Result<Self> {
        let shared = Arc::new(Shared {
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
        });
        let run = Run {
            shared: Arc::clone(&shared),
            sink,
            failures: 0,
            checks: Checks::default(),
            flushes: Flushes::default(),
            flush_seen: 0,
        };
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
        if let Err(error) = self.shared.queue.settle(timeout) {
            return Err(FlushError::Timeout {
                waited: started.elapsed(),
                last_error: Some(error.to_string()),
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
            let _ = thread.join();
        }
        Ok(())
    }

    pub(crate) fn stats(&self) -> ConsumerStats {
        self.shared.lock().stats.clone()
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        if let Err(error) = self.stop() {
            tracing::warn!(worker = self.shared.settings.name, %error, "dropped while it works");
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // Every change of the state is complete before anything can panic.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait_for<'a>(
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

    fn wait<'a>(&self, state: MutexGuard<'a, State>, timeout: Duration) -> MutexGuard<'a, State> {
        self.changed
            .wait_timeout(state, timeout)
            .unwrap_or_else(PoisonError::into_inner)
            .0
    }
}

/// How a pass over the queue ended.
enum Pass {
    Empty,
    /// What is left has to wait: another worker is at it, or it was put off.
    Waiting,
    Stopped,
}

/// What the thread owns.
struct Run<S> {
    shared: Arc<Shared>,
    sink: S,
    failures: u32,
    checks: Checks,
    flushes: Flushes,
    /// The latest flush asked for when the latest pass began.
    flush_seen: u64,
}

impl<S: Sink> Run<S> {
    fn run(mut self) {
        // Sets `running` to false also where this function should panic itself.
        let _ended = Ended(Arc::clone(&self.shared));
        self.sink.begin();
        loop {
            let pass = catch_unwind(AssertUnwindSafe(|| self.drain()));
            if let Ok(Ok(Pass::Empty | Pass::Waiting)) = pass {
                self.check();
            }
            let pause = match pass {
                Ok(Ok(Pass::Stopped)) => return,
                Ok(Ok(Pass::Empty)) => self.succeeded(self.shared.settings.interval),
                Ok(Ok(Pass::Waiting)) => self.succeeded(self.stand_by()),
                Ok(Err(problem)) => self.failed(problem, false),
                Err(panic) => self.failed(message_of(panic.as_ref()), true),
            };
            if self.pause(pause) {
                return;
            }
        }
    }

    /// After a pass that went well, and never in the way of one: the server may be silent.
    fn check(&mut self) {
        let sink = &self.sink;
        let checks = &mut self.checks;
        let checked = catch_unwind(AssertUnwindSafe(|| checks.run(|| sink.warnings())));
        if checked.is_err() {
            tracing::error!("panicked while looking for warnings");
        }
    }

    /// Delivers batch after batch until the queue is empty.
    fn drain(&mut self) -> Result<Pass, String> {
        self.flush_seen = self.shared.lock().flush_asked;
        loop {
            if self.shared.lock().stop {
                return Ok(Pass::Stopped);
            }
            self.note_flush()?;
            let batch = self.peek()?;
            failpoint!(self.shared.settings.name, "peeked");
            self.flushes.peeked(&batch.payloads);
            self.flushed();
            if batch.is_empty() {
                return Ok(Pass::Empty);
            }
            let tally = match self.sink.deliver(&batch.payloads)? {
                Delivery::StandBy => return Ok(Pass::Waiting),
                Delivery::Done(tally) => tally,
            };
            failpoint!(self.shared.settings.name, "delivered");
            self.acknowledge(&batch, &tally)?;
            failpoint!(self.shared.settings.name, "acknowledged");
            self.count(&tally);
            // Not before it is counted: who waits for a flush may look at the counts.
            self.flushed();
            if tally.put_off.len() == batch.len() {
                return Ok(Pass::Waiting);
            }
        }
    }

    fn peek(&self) -> Result<Batch, String> {
        let limit = self.shared.settings.batch_size;
        self.shared.queue.peek(limit).map_err(text)
    }

    fn acknowledge(&mut self, batch: &Batch, tally: &Tally) -> Result<(), String> {
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

    fn succeeded(&mut self, pause: Duration) -> Duration {
        self.failures = 0;
        self.shared.lock().stats.last_error = None;
        pause
    }

    fn failed(&mut self, problem: String, panicked: bool) -> Duration {
        self.failures = self.failures.saturating_add(1);
        let worker = self.shared.settings.name;
        if panicked {
            tracing::error!(worker, problem, "panicked; it goes on");
        } else if self.failures == 1 {
            tracing::warn!(
                worker,
                problem,
                "cannot deliver audit records now; it tries again"
            );
        }
        let stats = &mut self.shared.lock().stats;
        stats.outages += u64::from(!panicked);
        stats.panics += u64::from(panicked);
        stats.last_error = Some(problem);
        backoff::delay(self.failures, self.shared.settings.longest_backoff)
    }

    fn stand_by(&self) -> Duration {
        let stand_by = self.shared.settings.stand_by;
        match self.shared.lock().flush_waiting {
            0 => stand_by,
            _ => stand_by.min(STAND_BY_FOR_FLUSH),
        }
    }

    /// Waits, unless there is something to do, and says whether to end.
    fn pause(&self, pause: Duration) -> bool {
        let started = Instant::now();
        let mut state = self.shared.lock();
        loop {
            if state.stop {
                return true;
            }
            let flush = state.flush_waiting > 0;
            let pause = if flush && self.failures > 0 {
                pause.min(BACKOFF_FOR_FLUSH)
            } else {
                pause
            };
            let left = pause.saturating_sub(started.elapsed());
            // Each flush makes one pass begin at once, also where the one before failed.
            if left.is_zero() || state.flush_asked > self.flush_seen {
                return false;
            }
            state = self.shared.wait(state, left);
        }
    }
}

struct Ended(Arc<Shared>);

impl Drop for Ended {
    fn drop(&mut self) {
        self.0.lock().stats.running = false;
        self.0.changed.notify_all();
    }
}

fn text(error: QueueError) -> String {
    error.to_string()
}

fn message_of(panic: &(dyn std::any::Any + Send)) -> String {
    let message = panic
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| panic.downcast_ref::<String>().cloned());
    message.unwrap_or_else(|| "a panic without a message".to_owned())
}
