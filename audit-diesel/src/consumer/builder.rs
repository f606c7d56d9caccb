use std::sync::Arc;
use std::time::Duration;

use audit_core::{Queue, QueueError, QueueOwner, SigningKey};
use diesel::r2d2::{ConnectionManager, Pool};

use super::backend::AuditStore;
use super::error::discreet;
use super::refusal::is_outage;
use super::store::StoreSink;
use super::{Consumer, ConsumerError, Settings, Worker, checks};
use crate::panics;

/// How soon a consumer looks whether the one at work has died.
const STAND_BY: Duration = Duration::from_secs(1);

/// The longest that the database is back before a consumer notices.
const LONGEST_BACKOFF: Duration = Duration::from_secs(5);

/// Configures a [`Consumer`].
#[must_use = "call `spawn()`"]
pub struct ConsumerBuilder<C: AuditStore> {
    queue: Arc<dyn Queue>,
    pool: Pool<ConnectionManager<C>>,
    batch_size: usize,
    interval: Duration,
    keys: Option<Vec<SigningKey>>,
}

impl<C: AuditStore> ConsumerBuilder<C> {
    pub(super) fn new(queue: Arc<dyn Queue>, pool: Pool<ConnectionManager<C>>) -> Self {
        Self {
            queue,
            pool,
            batch_size: 1_000,
            interval: Duration::from_secs(30),
            keys: None,
        }
    }

    /// Sets how many records one transaction stores at most; 1,000 unless said, up to 10,000. On
    /// SQLite it is 200 at most, as nobody else can write meanwhile.
    pub fn batch_size(mut self, records: usize) -> Self {
        self.batch_size = records;
        self
    }

    /// Sets how often the consumer looks at the queue; every 30 s unless said. Each time it goes
    /// on until the queue is empty. Where records keep coming, it lets those of a second gather, or
    /// of the interval if that is shorter, and stores them at once.
    pub fn interval(mut self, interval: Duration) -> Self {
        self.interval = interval;
        self
    }

    /// Stores only what one of these keys has signed, as
    /// [`sign_with`](crate::AuditorBuilder::sign_with) lets applications do. What is not signed, or
    /// wrongly, goes into quarantine with that reason, so let the applications sign first.
    ///
    /// Several keys are for replacing one: accept both, sign with the new one, and drop the old one
    /// when nothing waits any more that it has signed.
    pub fn verify_with(mut self, keys: impl IntoIterator<Item = SigningKey>) -> Self {
        self.keys = Some(keys.into_iter().collect());
        self
    }

    /// Checks the tables and the queue, and starts the thread.
    ///
    /// A queue that cannot be reached now is no error: the consumer goes on trying.
    ///
    /// # Errors
    ///
    /// [`ConsumerError`] where the database cannot be reached, where the migrations did not run, where
    /// it does not say which database it is and the queue's list may be another one's,
    /// where the queue is configured wrongly, and for settings out of range.
    pub fn spawn(self) -> Result<Consumer, ConsumerError> {
        self.check_settings()?;
        let mut conn = self
            .pool
            .get()
            .map_err(|error| ConsumerError::NoConnection {
                reason: discreet(&error.to_string()),
            })?;
        C::check_tables(&mut conn)?;
        let database_warnings = C::warnings(&mut conn).unwrap_or_default();
        self.tell_owner(&mut conn)?;
        drop(conn);
        checks::say(&database_warnings);
        // A panic of it is seen again by the thread, which says so.
        match panics::caught(|| self.queue.claim().and_then(|()| self.queue.len())) {
            Ok(Err(QueueError::Unavailable { .. })) | Ok(Ok(_)) | Err(_) => {}
            Ok(Err(error)) => return Err(error.into()),
        }
        let settings = Settings {
            name: "audit-consumer",
            batch_size: self.batch_size.min(C::LARGEST_BATCH),
            interval: self.interval,
            stand_by: STAND_BY.min(self.interval),
            longest_backoff: LONGEST_BACKOFF,
        };
        let queue = self.queue;
        let sink = StoreSink::new(self.pool, Arc::clone(&queue), self.keys);
        let worker = Worker::spawn(Arc::clone(&queue), sink, settings);
        Ok(Consumer {
            worker: worker.map_err(ConsumerError::Thread)?,
            queue,
            database_warnings,
        })
    }

    /// Tells the queue which database its records are stored in. Where that is not found out, they may
    /// be another one's.
    fn tell_owner(&self, conn: &mut C) -> Result<(), ConsumerError> {
        match C::database_identity(conn) {
            Ok(Some(name)) => {
                let is_certain = true;
                Ok(self.queue.belong_to(&QueueOwner { name, is_certain })?)
            }
            Ok(None) => Ok(()),
            Err(error) if is_outage(&error) => Err(ConsumerError::NoConnection {
                reason: discreet(&error.to_string()),
            }),
            // Somebody has said whose it is.
            Err(_) if !self.queue.wants_owner() => Ok(()),
            Err(error) => Err(ConsumerError::NoIdentity {
                reason: error.to_string(),
            }),
        }
    }

    fn check_settings(&self) -> Result<(), ConsumerError> {
        if !(1..=10_000).contains(&self.batch_size) {
            return Err(ConsumerError::OutOfRange {
                setting: "batch_size",
                range: "between 1 and 10,000",
            });
        }
        if self.keys.as_ref().is_some_and(Vec::is_empty) {
            return Err(ConsumerError::OutOfRange {
                setting: "the number of keys to verify with",
                range: "more than 0",
            });
        }
        if self.interval.is_zero() {
            return Err(ConsumerError::OutOfRange {
                setting: "interval",
                range: "more than 0",
            });
        }
        Ok(())
    }
}

impl<C: AuditStore> std::fmt::Debug for ConsumerBuilder<C> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ConsumerBuilder")
            .field("queue", &self.queue.name())
            .field("batch_size", &self.batch_size)
            .field("interval", &self.interval)
            .finish_non_exhaustive()
    }
}
