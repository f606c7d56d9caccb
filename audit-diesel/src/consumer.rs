//! The consumer: a thread that moves records from a queue into `audit_logs`.

mod backend;
mod backoff;
mod builder;
mod checks;
mod database;
mod doubt;
mod error;
mod fates;
mod flush;
pub(crate) mod health;
mod poison;
#[cfg(feature = "postgres")]
mod postgres;
mod probe;
mod quarantine;
mod refusal;
mod rights;
mod rulings;
#[cfg(feature = "sqlite")]
mod sqlite;
mod stats;
mod store;
mod storing;
mod worker;

pub use backend::AuditStore;
#[cfg(feature = "journal")]
pub(crate) use backend::TransactionStatus;
pub use builder::ConsumerBuilder;
#[cfg(feature = "journal")]
pub(crate) use checks::say;
pub use error::{ConsumerError, FlushError, StopError};
#[cfg(all(feature = "redis", feature = "journal"))]
pub(crate) use fates::{Fate, Fates, PoolFates};
pub(crate) use refusal::is_outage;
#[cfg(feature = "journal")]
pub(crate) use rulings::{Judge, PoolJudge, Question, Ruling};
pub use stats::ConsumerStats;
pub(crate) use worker::{Control, Delivery, Settings, Sink, Tally, Undelivered, Worker};

use std::sync::Arc;
use std::time::Duration;

use audit_core::{Queue, Warning};
use diesel::r2d2::{ConnectionManager, Pool};

/// A running consumer. It stops when it is dropped.
///
/// Several consumers may run on one queue, in one process or in many: one works at a time, and
/// the others stand by.
///
/// ```no_run
/// # #[cfg(feature = "postgres")]
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use audit_diesel::{Auditor, Consumer, MemoryQueue};
/// use diesel::PgConnection;
/// use diesel::r2d2::{ConnectionManager, Pool};
/// use std::time::Duration;
///
/// let auditor = Auditor::builder().queue(MemoryQueue::new()).build()?;
/// let pool = Pool::new(ConnectionManager::<PgConnection>::new("postgres://localhost/app"))?;
/// let consumer = Consumer::builder(auditor.queue(), pool.clone())
///     .batch_size(1_000)
///     .interval(Duration::from_secs(30))
///     .spawn()?;
/// consumer.flush()?;
/// consumer.stop()?;
/// # Ok(())
/// # }
/// # #[cfg(not(feature = "postgres"))]
/// # fn main() {}
/// ```
pub struct Consumer {
    worker: Worker,
    queue: Arc<dyn Queue>,
    database_warnings: Vec<Warning>,
}

impl Consumer {
    /// Starts to configure a consumer that stores what is in `queue` through connections of
    /// `pool`. It uses one connection at a time.
    ///
    /// Let it be a pool of the PostgreSQL server that the audited tables are on: what became of a
    /// transaction whose connection was lost during COMMIT is asked there. No other server can tell,
    /// and its record goes into quarantine.
    pub fn builder<C>(queue: Arc<dyn Queue>, pool: Pool<ConnectionManager<C>>) -> ConsumerBuilder<C>
    where
        C: AuditStore,
    {
        ConsumerBuilder::new(queue, pool)
    }

    /// Waits until every record that the queue took before the call is stored, for at most 30 s.
    ///
    /// # Errors
    ///
    /// [`FlushError`] says why not.
    pub fn flush(&self) -> Result<(), FlushError> {
        self.flush_within(Duration::from_secs(30))
    }

    /// As [`flush`](Self::flush), for at most `timeout`.
    ///
    /// # Errors
    ///
    /// [`FlushError`] says why not.
    pub fn flush_within(&self, timeout: Duration) -> Result<(), FlushError> {
        self.worker.flush(timeout)
    }

    /// Stops the consumer after the batch that it is at, waiting at most 5 s. What is still in
    /// the queue stays there. Stopping twice is fine.
    ///
    /// # Errors
    ///
    /// [`StopError`] where the thread still waits for a server that does not answer.
    pub fn stop(&self) -> Result<(), StopError> {
        self.worker.stop()
    }

    /// What somebody should look at: settings of the queue's server and of the database by which
    /// records could be lost, and that the consumer fails, since when and why. Empty where all is well.
    ///
    /// It asks the queue's server, which takes up to its time-out where it is silent. The same is
    /// said by `tracing::warn!` as well: settings once, as soon as the server can be asked, and what
    /// fails as it begins, once a minute while it lasts, and when it is over.
    pub fn warnings(&self) -> Vec<Warning> {
        let mut warnings = self.database_warnings.clone();
        warnings.extend(health::warnings_of(&*self.queue));
        warnings.extend(health::of_worker(&self.worker.status()));
        warnings
    }

    /// What the consumer did since it was started.
    pub fn stats(&self) -> ConsumerStats {
        self.worker.stats()
    }
}

impl std::fmt::Debug for Consumer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Consumer").field(&self.worker).finish()
    }
}
