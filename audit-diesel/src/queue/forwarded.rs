//! A journal in front of another queue: a push ends at the journal, and a thread carries it on.
//!
//! Where the database can be asked, a second thread drops what it has from the journal, and has
//! carried on again what the other queue has lost.

mod aside;
mod carrier;
mod confirm;
mod evidence;
mod sent;
mod spill;

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use audit_core::{Batch, Payload, Queue, QueueError, QueueOwner, QueueStatus, Warning};

use super::Target;
use super::buffered::BufferedQueue;
use super::forward::{Forward, INTERVAL, settings};
use super::journal::Journal;
use super::settle;
use crate::auditor::DeliveryCounters;
use crate::consumer::health::warnings_of;
use crate::consumer::{Control, Delivery, Fates, Judge, Settings, Sink, Undelivered, Worker};
use aside::Kept;
use carrier::Carrier;
use confirm::Confirm;
use sent::{Sent, Unsent};
use spill::Spill;

/// The database that the journal's records end up in.
pub(crate) struct Confirmation {
    pub(crate) fates: Box<dyn Fates>,
    /// Puts records into quarantine there.
    pub(crate) judge: Box<dyn Judge>,
    /// Says which database it is.
    pub(crate) database: Box<dyn Fates>,
}

/// A queue that pushes into a journal and peeks at the target that the journal is carried to.
pub(crate) struct ForwardedQueue {
    journal: Journal,
    target: Arc<dyn Queue>,
    /// Where records go that the journal does not take.
    spill: BufferedQueue,
    forwarder: Worker,
    confirmer: Option<Worker>,
    counters: Arc<DeliveryCounters>,
    carrier: Arc<Carrier>,
}

impl ForwardedQueue {
    /// Starts the threads that carry the journal on. Records get as long as `grace` for their way before
    /// the database is asked for them. What the journal does not take waits in up to `spill_bytes` of
    /// memory where the target is away as well.
    pub(crate) fn start(
        journal: Journal,
        target: Target,
        confirmation: Option<Confirmation>,
        grace: Duration,
        counters: Arc<DeliveryCounters>,
        spill_bytes: u64,
    ) -> io::Result<Self> {
        let carrier = Arc::new(Carrier::new(journal.clone()));
        let (fates, aside, database) = match confirmation {
            Some(Confirmation {
                fates,
                judge,
                database,
            }) => (Some(fates), Kept::In(judge), Some(database)),
            None => (None, Kept::Here(journal.clone()), None),
        };
        let forward = Forward::to(&target, aside);
        let fit = forward.fit();
        let sink = Carried {
            forward,
            carrier: Arc::clone(&carrier),
            owner: database.map(|database| OwnerToLearn {
                database,
                queue: Arc::clone(&target.queue),
                asked: None,
                contradiction: None,
            }),
        };
        let queue: Arc<dyn Queue> = match fates {
            Some(_) => Arc::new(Unsent(journal.clone())),
            None => Arc::new(journal.clone()),
        };
        let forwarder = Worker::spawn(queue, sink, settings("audit-forwarder"))?;
        let confirmer = fates.map(|fates| {
            let sent = Sent::new(journal.clone(), &target.queue, &fit, &carrier, grace);
            let sink = Confirm {
                journal: journal.clone(),
                fates,
                fit,
                counters: Arc::clone(&counters),
            };
            let interval = (grace / 4).max(INTERVAL);
            let settings = Settings {
                interval,
                stand_by: interval,
                ..settings("audit-confirmer")
            };
            Worker::spawn(Arc::new(sent), sink, settings)
        });
        let spill = Spill::of(journal.clone(), &target);
        Ok(Self {
            journal,
            spill: BufferedQueue::start(spill, spill_bytes, Arc::clone(&counters))?,
            counters,
            target: target.queue,
            forwarder,
            confirmer: confirmer.transpose()?,
            carrier,
        })
    }
}

impl Drop for ForwardedQueue {
    fn drop(&mut self) {
        let workers = [Some(&self.forwarder), self.confirmer.as_ref()];
        let stopped = workers.into_iter().flatten().all(|w| w.stop().is_ok());
        if stopped {
            self.carrier.release();
        }
    }
}

impl Queue for ForwardedQueue {
    fn name(&self) -> String {
        self.target.name()
    }

    fn push(&self, payloads: &[Payload]) -> Result<(), QueueError> {
        let (journal, panics) = (&self.journal, &self.counters.panics);
        // Twice: what goes past the journal is lost where Redis loses it, and a record that the journal
        // has twice is stored once.
        let pushed = panics.contain_and_retry(|| journal.name(), "push", || journal.push(payloads));
        let Err(refused) = pushed else {
            return Ok(());
        };
        // A journal that is full or cannot be written is no reason to lose records that the
        // target, or memory, may still take.
        self.spill.push(payloads).map_err(|_| refused)
    }

    fn peek(&self, limit: usize) -> Result<Batch, QueueError> {
        self.target.peek(limit)
    }

    fn peek_behind(&self, batch: &Batch, limit: usize) -> Result<Batch, QueueError> {
        self.target.peek_behind(batch, limit)
    }

    fn ack(&self, batch: &Batch) -> Result<usize, QueueError> {
        self.target.ack(batch)
    }

    fn put_off(&self, payloads: &[Payload]) -> Result<(), QueueError> {
        // A full Redis takes none, and has to get empty all the same. The journal keeps them as well.
        let refused = self.target.put_off(payloads);
        let marked = || payloads.iter().map(Payload::put_off).collect::<Vec<_>>();
        refused.or_else(|_| self.journal.push(&marked()))
    }

    fn control(
        &self,
        bytes: usize,
        at_least: Duration,
        is_stopped: &dyn Fn() -> bool,
    ) -> Result<(), QueueError> {
        self.target.control(bytes, at_least, is_stopped)
    }

    fn len(&self) -> Result<u64, QueueError> {
        self.target.len()
    }

    fn may_hold(&self, payload: &Payload) -> Result<bool, QueueError> {
        self.target.may_hold(payload)
    }

    fn wants_owner(&self) -> bool {
        self.target.wants_owner()
    }

    fn belong_to(&self, owner: &QueueOwner) -> Result<(), QueueError> {
        self.target.belong_to(owner)
    }

    fn claim(&self) -> Result<(), QueueError> {
        self.target.claim()
    }

    fn settle(&self, timeout: Duration) -> Result<(), QueueError> {
        let started = Instant::now();
        // What waited in memory may go into the journal first. Where it does not, what is in the
        // journal is carried on all the same.
        let spilt = self.spill.settle(timeout);
        let left = timeout.saturating_sub(started.elapsed());
        spilt.and(settle(&self.forwarder, left, || self.name()))
    }

    fn warnings(&self) -> Result<Vec<Warning>, QueueError> {
        let mut warnings = warnings_of(&self.journal);
        warnings.extend(warnings_of(&*self.target));
        Ok(warnings)
    }

    fn status(&self) -> QueueStatus {
        let mut status = self.journal.status();
        let workers = [Some(&self.forwarder), self.confirmer.as_ref()];
        let workers = workers.into_iter().flatten();
        status.workers.extend(workers.map(Worker::status));
        status.merge(self.spill.status());
        status
    }
}

/// Carries the journal on where no other process does.
struct Carried {
    forward: Forward,
    carrier: Arc<Carrier>,
    /// Gone once it is learnt.
    owner: Option<OwnerToLearn>,
}

/// The database that records are confirmed in: the target's records are for that one.
struct OwnerToLearn {
    database: Box<dyn Fates>,
    queue: Arc<dyn Queue>,
    asked: Option<Instant>,
    /// As long as it stands nothing may be carried on: it would be stored in another database.
    contradiction: Option<QueueError>,
}

/// How soon a database that could not be asked which it is is asked again. It holds up the forwarder for
/// as long as the pool waits for a connection, 3 s, and as a statement may take then.
const ASK_AGAIN: Duration = Duration::from_secs(10);

impl OwnerToLearn {
    /// Whether there is nothing left to learn. A database that is away is no reason not to carry on: a
    /// list that is another one's refuses what nobody owns.
    fn is_learnt(&mut self) -> Result<bool, QueueError> {
        if self.asked.is_none_or(|at| at.elapsed() >= ASK_AGAIN) {
            let learnt = self.ask();
            // From its end: a database that is silent must not be asked all the time.
            self.asked = Some(Instant::now());
            if let Some(learnt) = learnt {
                self.contradiction = learnt.err();
                return self.refused().map(|()| true);
            }
        }
        self.refused().map(|()| false)
    }

    /// Asks the database which it is, and tells the queue; none where it cannot be asked now.
    fn ask(&mut self) -> Option<Result<(), QueueError>> {
        let name = self.database.database().ok()?;
        let is_certain = true;
        let told = name.map(|name| self.queue.belong_to(&QueueOwner { name, is_certain }));
        Some(told.unwrap_or(Ok(())))
    }

    fn refused(&self) -> Result<(), QueueError> {
        self.contradiction.clone().map_or(Ok(()), Err)
    }
}

impl Sink for Carried {
    type Prepared = ();

    fn prepare(_: &[Payload]) {}

    fn begin(&mut self) {
        // So that a process alone need not take over from nobody when it has records.
        let _ = self.carrier.is_it();
    }

    fn deliver(&mut self, payloads: &[Payload], (): ()) -> Result<Delivery, Undelivered> {
        // What was read before it took over may have been carried by another process meanwhile.
        if !self.carrier.was_it().map_err(|error| error.to_string())? {
            return Ok(Delivery::StandBy(None));
        }
        if let Some(owner) = &mut self.owner
            && owner.is_learnt().map_err(|error| error.to_string())?
        {
            self.owner = None;
        }
        let delivered = self.forward.deliver(payloads, ());
        if delivered.is_err() {
            // Another process may reach the target.
            self.carrier.release();
        }
        delivered
    }

    fn control(&mut self, control: &Control<'_>) -> Result<(), Undelivered> {
        self.forward.control(control)
    }

    fn set_aside(&mut self, payload: &Payload, reason: &str) -> Result<Delivery, Undelivered> {
        if !self.carrier.was_it().map_err(|error| error.to_string())? {
            return Ok(Delivery::StandBy(None));
        }
        self.forward.set_aside(payload, reason)
    }

    fn warnings(&self) -> Result<Vec<Warning>, QueueError> {
        self.forward.warnings()
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use std::collections::HashMap;
    use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

    use audit_core::{MemoryQueue, WorkerState};

    use super::*;
    use crate::consumer::{Fate, Question, Ruling, TransactionStatus};
    use crate::queue::redis::RedisQueue;
    use crate::store::Refused;

    /// Says which database it is, in this order; then it is away.
    struct Names(Vec<Result<Option<String>, String>>);

    impl Fates for Names {
        fn of(&mut self, _: &[Payload]) -> Result<Vec<Fate>, String> {
            Err("nobody asks".to_owned())
        }

        fn database(&mut self) -> Result<Option<String>, String> {
            self.0.pop().unwrap_or_else(|| Err("away".to_owned()))
        }
    }

    fn to_learn(queue: Arc<dyn Queue>, names: &[Option<&str>]) -> OwnerToLearn {
        let names = names.iter().rev().map(|name| Ok(name.map(str::to_owned)));
        OwnerToLearn {
            database: Box::new(Names(names.collect())),
            queue,
            asked: None,
            contradiction: None,
        }
    }

    /// Nothing is connected.
    fn list_of(name: &str) -> Arc<dyn Queue> {
        let list = RedisQueue::builder("redis://127.0.0.1/").build().unwrap();
        let (name, is_certain) = (name.to_owned(), true);
        list.belong_to(&QueueOwner { name, is_certain }).unwrap();
        Arc::new(list)
    }

    /// Panics at each question until it is mended; then everything is stored.
    struct Panicking(Arc<AtomicBool>);

    impl Fates for Panicking {
        fn of(&mut self, payloads: &[Payload]) -> Result<Vec<Fate>, String> {
            assert!(self.0.load(SeqCst), "no provider");
            Ok(vec![Fate::Stored; payloads.len()])
        }

        fn database(&mut self) -> Result<Option<String>, String> {
            Ok(None)
        }
    }

    /// Nobody asks it anything.
    struct NoJudge;

    impl Judge for NoJudge {
        fn rule(&mut self, _: Vec<Question>) -> Result<Vec<Ruling>, String> {
            Err("nobody asks".to_owned())
        }

        fn statuses(&mut self, _: Vec<i64>) -> Result<HashMap<i64, TransactionStatus>, String> {
            Err("nobody asks".to_owned())
        }

        fn quarantine(&mut self, _: Vec<Refused>) -> Result<(), String> {
            Err("nobody asks".to_owned())
        }
    }

    #[test]
    fn the_confirmer_outlives_a_panic_of_what_it_asks_and_says_so() {
        let folder = tempfile::tempdir().unwrap();
        let journal = Journal::builder(folder.path().join("journal.db"));
        let (journal, memory) = (journal.open().unwrap(), MemoryQueue::new());
        let (counters, mended) = (Arc::default(), Arc::<AtomicBool>::default());
        let list: Arc<dyn Queue> = Arc::new(memory.clone());
        let confirmation = Confirmation {
            fates: Box::new(Panicking(Arc::clone(&mended))),
            judge: Box::new(NoJudge),
            database: Box::new(Names(Vec::new())),
        };
        let forwarded = ForwardedQueue::start(
            journal.clone(),
            Target::contained(Arc::clone(&list), list, &counters, None),
            Some(confirmation),
            Duration::ZERO,
            counters,
            1 << 20,
        )
        .unwrap();
        forwarded.push(&[Payload::from(&b"a"[..])]).unwrap();
        forwarded.settle(Duration::from_secs(60)).unwrap();
        let taken = memory.peek(9).unwrap();
        assert_eq!(memory.ack(&taken), Ok(1));
        let confirmer = forwarded.confirmer.as_ref().unwrap();
        confirmer.flush(Duration::from_millis(300)).unwrap_err();
        let said = confirmer.status().to_string();
        assert!(said.contains("no provider"), "{said}");
        assert_eq!(journal.len(), Ok(1));
        mended.store(true, SeqCst);
        confirmer.flush(Duration::from_secs(60)).unwrap();
        assert_eq!(journal.len(), Ok(0));
        assert_eq!(confirmer.status().state, WorkerState::Running);
    }

    #[test]
    fn a_contradiction_stops_the_forwarder_each_time_until_it_is_gone() {
        let mut owner = to_learn(list_of("bank"), &[Some("blog"), Some("bank")]);
        let soon = |owner: &mut OwnerToLearn| owner.asked = None;
        for _ in 0..3 {
            owner.is_learnt().unwrap_err();
        }
        soon(&mut owner);
        assert_eq!(owner.is_learnt(), Ok(true));
        soon(&mut owner);
        assert_eq!(owner.is_learnt(), Ok(false), "it is away");
    }

    #[test]
    fn a_contradiction_outlasts_a_database_that_is_away() {
        let mut owner = to_learn(list_of("bank"), &[Some("blog")]);
        for _ in 0..3 {
            owner.is_learnt().unwrap_err();
            owner.asked = None;
        }
    }

    #[test]
    fn a_database_that_has_no_name_leaves_nothing_to_learn() {
        let mut owner = to_learn(Arc::new(MemoryQueue::new()), &[None]);
        assert_eq!(owner.is_learnt(), Ok(true));
    }
}
