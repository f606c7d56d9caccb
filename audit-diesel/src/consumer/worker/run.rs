//! The thread's life: passes over the queue, and how long it waits between them.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::super::backoff;
use super::super::checks::Checks;
use super::super::flush::Flushes;
use super::Sink;
use super::batch_limit::BatchLimit;
use super::drain::Pass;
use super::failure::Failure;
use super::outage::Outage;
use super::shared::Shared;
use super::stand_by::StandBy;
use super::suspicion::Suspicion;
use crate::log::log;
use crate::panics;

/// How soon a worker that stands by looks again while somebody waits for a flush.
const STAND_BY_FOR_FLUSH: Duration = Duration::from_millis(20);
/// The longest back-off while somebody waits for a flush, who would give up before the end of a
/// long one.
const BACKOFF_FOR_FLUSH: Duration = Duration::from_millis(500);

/// As after so many failures is waited at most while batches become smaller.
const FAILURES_WHILE_SHRINKING: u32 = 2;

/// What the thread owns.
pub(super) struct Run<S> {
    pub(super) shared: Arc<Shared>,
    pub(super) sink: S,
    /// Whether the sink's `begin` was called.
    begun: bool,
    pub(super) failures: u32,
    pub(super) suspicion: Suspicion,
    pub(super) batch_limit: BatchLimit,
    pub(super) stand_by: StandBy,
    outage: Outage,
    checks: Checks,
    pub(super) flushes: Flushes,
    /// The latest flush that the latest pass knows of.
    pub(super) flush_seen: u64,
}

impl<S: Sink> Run<S> {
    pub(super) fn new(shared: Arc<Shared>, sink: S) -> Self {
        Self {
            shared,
            sink,
            begun: false,
            failures: 0,
            suspicion: Suspicion::default(),
            batch_limit: BatchLimit::default(),
            stand_by: StandBy::default(),
            outage: Outage::default(),
            checks: Checks::default(),
            flushes: Flushes::default(),
            flush_seen: 0,
        }
    }

    pub(super) fn run(mut self) {
        // Sets `running` to false also where this function should panic itself.
        let _ended = Ended(Arc::clone(&self.shared));
        loop {
            let pass = panics::caught(|| {
                self.begin();
                self.drain()
            });
            if let Ok(Ok(Pass::Empty | Pass::Waiting)) = pass {
                self.check();
            }
            let pause = match pass {
                Ok(Ok(Pass::Stopped)) => return,
                Ok(Ok(Pass::Empty)) => self.succeeded(self.shared.settings.interval),
                Ok(Ok(Pass::Waiting)) => self.waits(),
                Ok(Err(failure)) => self.failed(failure, false),
                Err(panic) => self.failed(panic.into(), true),
            };
            if self.pause(pause) {
                return;
            }
        }
    }

    fn begin(&mut self) {
        if !std::mem::replace(&mut self.begun, true) {
            self.sink.begin();
        }
    }

    /// When nothing waits, and never in the way of a pass: the server may be silent.
    pub(super) fn check(&mut self) {
        let sink = &self.sink;
        let checks = &mut self.checks;
        let checked = panics::caught(|| checks.run(|| sink.warnings()));
        if checked.is_err() {
            log!(error, "panicked while looking for warnings");
        }
    }

    fn succeeded(&mut self, pause: Duration) -> Duration {
        self.works();
        self.shared.lock().stats.note_success();
        pause
    }

    /// Whatever was in the way is so no longer.
    pub(super) fn works(&mut self) {
        self.failures = 0;
        if let Some(lasted) = self.outage.ended(Instant::now()) {
            let (worker, seconds) = (self.shared.settings.name, lasted.as_secs());
            log!(info, worker, seconds, "delivers audit records again");
        }
    }

    /// What is left has to wait. Where another worker keeps it from being delivered for long, that is
    /// as good as a failure.
    fn waits(&mut self) -> Duration {
        let pause = self.stand_by();
        let Some(problem) = self.stand_by.problem(Instant::now()) else {
            return self.succeeded(pause);
        };
        if self.outage.failed(Instant::now()).is_some() {
            let worker = self.shared.settings.name;
            log!(warn, worker, problem, "another worker is at it for long");
        }
        self.shared.lock().stats.note_failure(problem);
        pause
    }

    fn failed(&mut self, failure: Failure, panicked: bool) -> Duration {
        let problem = failure.problem;
        self.failures = self.failures.saturating_add(1);
        let worker = self.shared.settings.name;
        if let Some(lasts) = self.outage.failed(Instant::now()) {
            let seconds = lasts.as_secs();
            if panicked {
                log!(error, worker, problem, seconds, "panicked; it goes on");
            } else if failure.needs_somebody {
                log!(
                    error,
                    worker,
                    problem,
                    seconds,
                    "cannot deliver audit records until somebody mends this"
                );
            } else {
                log!(
                    warn,
                    worker,
                    problem,
                    seconds,
                    "cannot deliver audit records now; it tries again"
                );
            }
        }
        let stats = &mut self.shared.lock().stats;
        stats.outages += u64::from(!panicked);
        stats.panics += u64::from(panicked);
        stats.note_failure(problem);
        // It is not known yet whether a smaller batch goes through.
        let failures = match failure.shrinks {
            true => self.failures.min(FAILURES_WHILE_SHRINKING),
            false => self.failures,
        };
        backoff::delay(failures, self.shared.settings.longest_backoff)
    }

    fn stand_by(&self) -> Duration {
        let stand_by = self.shared.settings.stand_by;
        match self.shared.lock().flush_waiting {
            0 => stand_by,
            _ => stand_by.min(STAND_BY_FOR_FLUSH),
        }
    }

    /// Waits, unless there is something to do, and says whether to end.
    pub(super) fn pause(&self, pause: Duration) -> bool {
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

#[cfg(test)]
mod tests {
    use audit_core::{MemoryQueue, Payload};

    use super::super::{Delivery, Settings, Undelivered};
    use super::*;

    struct Away;

    impl Sink for Away {
        type Prepared = ();

        fn prepare(_: &[Payload]) {}

        fn deliver(&mut self, _: &[Payload], (): ()) -> Result<Delivery, Undelivered> {
            Err(Undelivered::Outage("away".to_owned()))
        }
    }

    fn run() -> Run<Away> {
        let settings = Settings {
            name: "worker",
            batch_size: 1_000,
            interval: Duration::from_secs(30),
            stand_by: Duration::from_secs(1),
            longest_backoff: Duration::from_secs(5),
        };
        let queue = Arc::new(MemoryQueue::new());
        Run::new(Arc::new(Shared::new(queue, settings)), Away)
    }

    fn batch() -> Vec<Payload> {
        let payload = |n: u32| Payload::from(n.to_be_bytes().to_vec());
        (0..1_000).map(payload).collect()
    }

    #[test]
    fn an_outage_is_waited_for_longer_each_time_although_batches_had_become_smaller() {
        let mut run = run();
        for _ in 0..3 {
            let failure = run.suspect(&batch(), Undelivered::Failed("too slow".to_owned()));
            let pause = run.failed(failure, false);
            assert!(pause <= Duration::from_millis(200), "{pause:?}");
        }
        for _ in 0..5 {
            run.failed("the queue is away".to_owned().into(), false);
        }
        let failure = run.suspect(&batch(), Undelivered::Outage("away".to_owned()));
        let pause = run.failed(failure, false);
        assert!(pause >= Duration::from_millis(2_500), "{pause:?}");
    }

    #[test]
    fn only_what_somebody_has_to_mend_is_said_to_need_somebody() {
        let mut run = run();
        let refuses = Undelivered::Unusable("the table refuses every row".to_owned());
        assert!(run.suspect(&batch(), refuses).needs_somebody);
        let away = Undelivered::Outage("away".to_owned());
        assert!(!run.suspect(&batch(), away).needs_somebody);
        assert!(!Failure::from("the queue is away".to_owned()).needs_somebody);
    }
}
