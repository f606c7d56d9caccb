//! The consumer: a thread that moves records from a queue into `audit_logs`.

mod backoff;
mod builder;
#[cfg(feature = "postgres")]
mod postgres;
#[cfg(feature = "sqlite")]
mod sqlite;
mod stats;
mod store;
mod worker;

pub use builder::ConsumerBuilder;
pub use stats::ConsumerStats;
pub use store::AuditStore;
pub(crate) use worker::{Delivery, Settings, Sink, Tally, Worker};

use std::sync::Arc;
use std::time::Duration;

use audit_core::{Queue, QueueError};
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
#[derive(Debug)]
pub struct Consumer {
    worker: Worker,
}

/// Why a consumer did not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConsumerError {
    /// The pool gave no connection.
    #[error("the consumer cannot reach the database: {0}")]
    NoConnection(#[source] diesel::r2d2::PoolError),
    /// `audit_logs` or `audit_quarantine` is missing, or has not the columns that it should have.
    #[error(
        "the database has no usable `{table}` table ({reason}): run the migrations, \
         `conn.run_pending_migrations(audit_diesel::{backend}::MIGRATIONS)`, beside the \
         application's own"
    )]
    MissingMigration {
        /// The table.
        table: &'static str,
        /// The module of this crate that has the migrations.
        backend: &'static str,
        /// What the database said.
        reason: String,
    },
    /// The queue cannot be used as configured.
    #[error(transparent)]
    Queue(#[from] QueueError),
    /// A setting is out of range.
    #[error("{setting} must be {range}")]
    OutOfRange {
        /// The builder's method.
        setting: &'static str,
        /// What it may be.
        range: &'static str,
    },
    /// The operating system gave no thread.
    #[error("the consumer's thread cannot be started: {0}")]
    Thread(#[source] std::io::Error),
}

/// Why not everything was stored.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FlushError {
    /// It took longer than it may. The consumer goes on trying.
    #[error(
        "not everything was stored within {waited:?}; the last problem was: {}",
        last_error.as_deref().unwrap_or("none, there is just a lot to do")
    )]
    Timeout {
        /// How long the call waited.
        waited: Duration,
        /// What kept the consumer from storing, if anything did.
        last_error: Option<String>,
    },
    /// The consumer was stopped.
    #[error("the consumer was stopped before everything was stored")]
    Stopped,
}

/// The consumer's thread did not end in time: it waits for the database or the queue, and ends
/// when that answers or gives up. Nothing is lost by ending the process.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "the consumer's thread did not end within {waited:?}; it ends when the database or the queue answers"
)]
pub struct StopError {
    /// How long the call waited.
    pub waited: Duration,
}

impl Consumer {
    /// Starts to configure a consumer that stores what is in `queue` through connections of
    /// `pool`. It uses one connection at a time.
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

    /// What the consumer did since it was started.
    pub fn stats(&self) -> ConsumerStats {
        self.worker.stats()
    }
}
