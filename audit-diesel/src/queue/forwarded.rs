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
use super::forward::{Forward, INTERVAL, settings, settle};
use super::journal::Journal;
use crate::auditor::DeliveryCounters;
use crate::consumer::health::warnings_of;
use crate::consumer::{Control, Delivery, Fates, Judge, Settings, Sink, Undelivered, Worker};
use crate::panics;
use aside::Kept;
use carrier::Carrier;
use confirm::Confirm;
use sent::{Sent, Unsent};
use spill::Spill;

/// The database that the journal's records end up in, and how long they get for that before it is
/// asked.
pub(crate) struct Confirmation {
    pub(crate) fates: Box<dyn Fates>,
    /// Puts records into quarantine there.
    pub(crate) judge: Box<dyn Judge>,
    /// Says which database it is.
    pub(crate) database: Box<dyn Fates>,
    pub(crate) grace: Duration,
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
    /// Starts the threads that carry the journal on. What the journal does not take waits in up to
    /// `spill_bytes` of memory where the target is away as well.
    pub(crate) fn start(
        journal: Journal,
        target: Target,
        confirmation: Option<Confirmation>,
        counters: Arc<DeliveryCounters>,
        spill_bytes: u64,
    ) -> io::Result<Self> {
        let carrier = Arc::new(Carrier::new(journal.clone()));
        let (fates, aside, database) = match confirmation {
            Some(Confirmation {
                fates,
                judge,
                database,
                grace,
            }) => (Some((fates, grace)), Kept::In(judge), Some(database)),
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
            }),
        };
        let queue: Arc<dyn Queue> = match fates {
            Some(_) => Arc::new(Unsent(journal.clone())),
            None => Arc::new(journal.clone()),
        };
        let forwarder = Worker::spawn(queue, sink, settings("audit-forwarder"))?;
        let confirmer = fates.map(|(fates, grace)| {
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
        let pushed = panics::caught(|| self.journal.push(payloads));
        let pushed = pushed.unwrap_or_else(|problem| {
            self.counters.panicked();
            Err(QueueError::Unavailable {
                queue: self.journal.name(),
                reason: format!("its `push` panicked: {problem}"),
            })
        });
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
        // What waited in memory may go into the journal first.
        self.spill.settle(timeout)?;
        let left = timeout.saturating_sub(started.elapsed());
        settle(&self.forwarder, left, || self.name())
    }

    fn warnings(&self) -> Result<Vec<Warning>, QueueError> {
        let mut warnings = self.journal.warnings()?;
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
}

/// How soon a database that could not be asked which it is is asked again.
const ASK_AGAIN: Duration = Duration::from_secs(10);

impl OwnerToLearn {
    /// Whether there is nothing left to learn. A database that is away holds up nothing.
    fn is_learnt(&mut self) -> Result<bool, QueueError> {
        if self.asked.is_some_and(|at| at.elapsed() < ASK_AGAIN) {
            return Ok(false);
        }
        self.asked = Some(Instant::now());
        let Ok(name) = self.database.database() else {
            return Ok(false);
        };
        if let Some(name) = name {
            let is_certain = true;
            self.queue.belong_to(&QueueOwner { name, is_certain })?;
        }
        Ok(true)
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
