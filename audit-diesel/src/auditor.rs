//! The application's handle: configuration, and where records go.

mod attach;
mod backend;
mod builder;
mod context;
mod customizer;
mod encode;
mod event;
mod guard;
pub(crate) mod health;
mod no_queue;
mod prepared;
mod publish;
mod shutdown;
mod stats;

pub use backend::AuditedBackend;
pub use builder::{AuditorBuilder, ConfigError};
pub use customizer::AuditorCustomizer;
pub(crate) use prepared::{PreparedFor, PreparedRecords};
pub use shutdown::ShutdownError;
pub use stats::AuditorStats;
pub(crate) use stats::DeliveryCounters;

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use audit_core::{Queue, QueueStatus, SigningKey, Warning};

use crate::AuditError;
use crate::contained::ContainedQueue;
use crate::delivery::Delivery;
use crate::guard::{GuardMode, GuardedTables};
use crate::log::Seldom;
use no_queue::NoQueue;
use stats::Counters;

/// The application's handle on auditing: build one at start-up, attach it to the connections, and
/// clone it where it is needed.
///
/// ```
/// use audit_diesel::{Auditor, MemoryQueue};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let auditor = Auditor::builder().queue(MemoryQueue::new()).build()?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Auditor {
    shared: Arc<Shared>,
}

struct Shared {
    queue: Arc<dyn Queue>,
    /// Whether the queue is one: an auditor whose records are all transactional needs none.
    has_queue: bool,
    /// Where records are written down before COMMIT.
    prepared: Option<Box<dyn PreparedRecords>>,
    settings: Settings,
    counters: Counters,
    losses_said: Seldom,
    left_said: Seldom,
    detached_said: Seldom,
    unsupported_said: Seldom,
    /// How often a prepared statement was found to return other types than it did.
    stale_plans: AtomicU32,
}

/// What the builder sets beside the queue.
#[derive(Debug, Clone)]
struct Settings {
    delivery: Delivery,
    /// Whether a model may choose another mode.
    delivery_is_for_all: bool,
    require_context: bool,
    max_record_bytes: usize,
    max_transaction_bytes: usize,
    guard_mode: GuardMode,
    guarded: GuardedTables,
    /// The application's own words that say secret.
    secret_words: Vec<&'static str>,
    signing_key: Option<SigningKey>,
}

impl Auditor {
    /// Starts to configure an auditor.
    pub fn builder() -> AuditorBuilder {
        AuditorBuilder::default()
    }

    fn new(
        queue: Option<Arc<dyn Queue>>,
        prepared: Option<Box<dyn PreparedRecords>>,
        settings: Settings,
        delivery: Arc<DeliveryCounters>,
    ) -> Self {
        let has_queue = queue.is_some();
        let queue = queue.unwrap_or_else(|| Arc::new(NoQueue));
        Self {
            shared: Arc::new(Shared {
                has_queue,
                queue: Arc::new(ContainedQueue::around(queue, &delivery.panics)),
                prepared,
                settings,
                counters: Counters::new(delivery),
                losses_said: Seldom::default(),
                left_said: Seldom::default(),
                detached_said: Seldom::default(),
                unsupported_said: Seldom::default(),
                stale_plans: AtomicU32::new(0),
            }),
        }
    }

    /// The queue that a [`Consumer`](crate::Consumer) takes the records from. An auditor that was
    /// built without one, for [`Delivery::Transactional`] alone, has one that refuses everything.
    pub fn queue(&self) -> Arc<dyn Queue> {
        Arc::clone(&self.shared.queue)
    }

    /// How often a prepared statement was found to return other types than it did: what one
    /// connection finds, the others need not run into.
    pub(crate) fn stale_plans(&self) -> u32 {
        self.shared.stale_plans.load(Ordering::Relaxed)
    }

    /// A prepared statement was found to return other types than it did.
    pub(crate) fn one_more_stale_plan(&self) {
        self.shared.stale_plans.fetch_add(1, Ordering::Relaxed);
    }

    /// What the auditor did since it was built, how its threads fare, and what waits on this machine.
    ///
    /// It reads the journal, which takes about as long as writing a record there does, and asks no
    /// server: call it as often as metrics are collected.
    pub fn stats(&self) -> AuditorStats {
        self.shared.counters.read(self.status())
    }

    fn status(&self) -> QueueStatus {
        let mut status = self.shared.queue.status();
        let prepared = self.shared.prepared.as_ref();
        status
            .workers
            .extend(prepared.map(|prepared| prepared.worker()));
        status
    }

    /// What somebody should look at: settings by which the queue could lose records, such as a Redis
    /// without persistence or a journal in memory; threads that fail, since when and why; records
    /// that wait for too long, wait in memory, or were lost. Empty where all is well.
    ///
    /// It asks the queue's server, which takes up to its time-out where it is silent. The same is
    /// said by `tracing::warn!` as well: settings once, as soon as the server can be asked, and what
    /// fails as it begins, once a minute while it lasts, and when it is over.
    /// [`Consumer::warnings`](crate::Consumer::warnings) knows about the database.
    pub fn warnings(&self) -> Vec<Warning> {
        let status = self.status();
        let stats = self.shared.counters.read(QueueStatus::default());
        let mut warnings = crate::consumer::health::warnings_of(&*self.shared.queue);
        warnings.extend(health::warnings(&stats, &status));
        warnings
    }

    fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.shared, &other.shared)
    }

    /// How the records of a model are delivered that asks for `chosen`.
    ///
    /// # Errors
    ///
    /// [`AuditError::NoQueue`] and [`AuditError::NoJournal`] where that mode needs one and the
    /// auditor has none.
    pub(crate) fn delivery(&self, chosen: Option<Delivery>) -> Result<Delivery, AuditError> {
        let settings = &self.shared.settings;
        let chosen = chosen.filter(|_| !settings.delivery_is_for_all);
        let delivery = chosen.unwrap_or(settings.delivery);
        match delivery {
            Delivery::AfterCommit => self.check_queue()?,
            Delivery::Prepared => drop(self.prepared()?),
            Delivery::Transactional => {}
        }
        Ok(delivery)
    }

    /// Where records are written down before COMMIT.
    pub(crate) fn prepared(&self) -> Result<&dyn PreparedRecords, AuditError> {
        self.shared.prepared.as_deref().ok_or(AuditError::NoJournal)
    }

    fn check_queue(&self) -> Result<(), AuditError> {
        match self.shared.has_queue {
            true => Ok(()),
            false => Err(AuditError::NoQueue),
        }
    }

    pub(crate) fn max_transaction_bytes(&self) -> usize {
        self.shared.settings.max_transaction_bytes
    }
}

impl std::fmt::Debug for Auditor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Auditor")
            .field("queue", &self.shared.queue.name())
            .field("settings", &self.shared.settings)
            .finish_non_exhaustive()
    }
}
