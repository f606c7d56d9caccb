use std::sync::Arc;

use audit_core::{Queue, QueueError};

use super::{Auditor, Settings};
use crate::delivery::Delivery;
use crate::guard::{GuardMode, GuardedTables};

/// Configures an [`Auditor`].
#[derive(Default)]
#[must_use = "call `build()`"]
pub struct AuditorBuilder {
    queue: Option<Arc<dyn Queue>>,
    #[cfg(feature = "redis")]
    redis: Option<Redis>,
    #[cfg(feature = "journal")]
    journal: Option<JournalAt>,
    without_journal: bool,
    delivery: Delivery,
    delivery_is_for_all: bool,
    require_context: bool,
    max_record_bytes: Option<usize>,
    max_transaction_bytes: Option<usize>,
    guard_mode: GuardMode,
    guarded: GuardedTables,
}

/// A Redis list, as a URL or built already.
#[cfg(feature = "redis")]
enum Redis {
    Url(String),
    Built(crate::RedisQueue),
}

/// A journal, as a path or open already.
#[cfg(feature = "journal")]
enum JournalAt {
    Path(std::path::PathBuf),
    Open(crate::Journal),
}

/// Why an auditor was not built.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// Nothing says where records go.
    #[error(
        "an auditor needs a queue: `.redis(url)` with `.journal(path)`, `.journal(path)` alone, \
         or `.queue(…)` with one of your own; only `.delivery(Delivery::Transactional)` needs none"
    )]
    NoQueue,
    /// Two calls say different things about where records go.
    #[error("`.queue(…)` stands alone: drop it, or `.redis(…)` and `.journal(…)`")]
    TwoQueues,
    /// Redis without a journal, and nobody said that this is meant.
    #[error(
        "without a journal, records made while Redis is away are lost: add `.journal(path)`, or \
         say `.without_journal()` if that is acceptable here"
    )]
    NoJournal,
    /// `.without_journal()` beside a journal.
    #[error("`.journal(…)` and `.without_journal()` contradict each other: drop one of them")]
    JournalAndNone,
    /// A bound is zero.
    #[error("{setting} must be more than 0")]
    Zero {
        /// The builder's method.
        setting: &'static str,
    },
    /// A queue cannot be used as configured.
    #[error(transparent)]
    Queue(#[from] QueueError),
    /// The operating system gave no thread to carry the journal on.
    #[error("the forwarder's thread cannot be started: {0}")]
    Thread(#[source] std::io::Error),
}

/// Below the 1 MiB that the queues take, as a record grows a little on its way.
const DEFAULT_MAX_RECORD_BYTES: usize = 1_000_000;
const DEFAULT_MAX_TRANSACTION_BYTES: usize = 256 << 20;

/// What a record may grow by after the auditor has measured it.
#[cfg(any(feature = "redis", feature = "journal"))]
const GROWTH: usize = 1 << 10;

impl AuditorBuilder {
    /// Records go to the list `audit:queue` of the Redis server at this URL. Use it with
    /// [`journal`](Self::journal), which keeps them while Redis is away.
    #[cfg(feature = "redis")]
    pub fn redis(mut self, url: impl Into<String>) -> Self {
        self.redis = Some(Redis::Url(url.into()));
        self
    }

    /// As [`redis`](Self::redis), with a key, time-outs or a pool size of your own.
    #[cfg(feature = "redis")]
    pub fn redis_queue(mut self, queue: crate::RedisQueue) -> Self {
        self.redis = Some(Redis::Built(queue));
        self
    }

    /// Records are written to a journal in this file before anything else happens to them. With
    /// Redis a thread carries them on; alone, the journal is the queue.
    #[cfg(feature = "journal")]
    pub fn journal(mut self, path: impl Into<std::path::PathBuf>) -> Self {
        self.journal = Some(JournalAt::Path(path.into()));
        self
    }

    /// As [`journal`](Self::journal), with an fsync policy or bounds of your own.
    #[cfg(feature = "journal")]
    pub fn journal_queue(mut self, journal: crate::Journal) -> Self {
        self.journal = Some(JournalAt::Open(journal));
        self
    }

    /// Says that Redis alone is meant: records made while it is away are lost, and counted.
    #[cfg(feature = "redis")]
    pub fn without_journal(mut self) -> Self {
        self.without_journal = true;
        self
    }

    /// Records go to a queue of your own, such as [`MemoryQueue`](crate::MemoryQueue) in tests.
    pub fn queue(mut self, queue: impl Queue) -> Self {
        self.queue = Some(Arc::new(queue));
        self
    }

    /// Says when and how records leave the user's transaction, for all models that do not say it
    /// themselves; [`Delivery::AfterCommit`] unless said.
    ///
    /// With [`Delivery::Transactional`] a queue is not needed, but then nothing can be recorded
    /// without a connection: not by [`Auditor::record`], not for models of another mode, and not
    /// what the guard notices, which is counted and logged only.
    ///
    /// ```
    /// use audit_diesel::{Auditor, Delivery};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let auditor = Auditor::builder().delivery(Delivery::Transactional).build()?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn delivery(mut self, delivery: Delivery) -> Self {
        self.delivery = delivery;
        self
    }

    /// As [`delivery`](Self::delivery), whatever a model says.
    pub(crate) fn delivery_for_all(mut self, delivery: Delivery) -> Self {
        self.delivery_is_for_all = true;
        self.delivery(delivery)
    }

    /// Makes a missing context an error, before anything is written, instead of recording the
    /// actor `unknown`.
    pub fn require_context(mut self) -> Self {
        self.require_context = true;
        self
    }

    /// Sets how large an encoded record may be, in bytes; 1,000,000 unless said. A larger record of
    /// a change keeps the names of the fields, with sizes in place of values; a larger event is
    /// refused. A queue that was built elsewhere has a bound of its own: let it be larger.
    pub fn max_record_bytes(mut self, max_bytes: usize) -> Self {
        self.max_record_bytes = Some(max_bytes);
        self
    }

    /// Sets how many bytes of records one open transaction may hold in memory; 256 MiB unless
    /// said. A statement beyond that fails, and its transaction has to be rolled back.
    pub fn max_transaction_bytes(mut self, max_bytes: usize) -> Self {
        self.max_transaction_bytes = Some(max_bytes);
        self
    }

    /// Names the audited tables, so that the guard notices raw writes to them: `users`, or
    /// `auth.users` for one in a PostgreSQL schema. `SCHEMA.audited()` of `audit_schema!` has them.
    pub fn guard<'a>(mut self, tables: impl IntoIterator<Item = &'a str>) -> Self {
        self.guarded = GuardedTables::new(tables);
        self
    }

    /// Says what the guard does; unless said, it panics where debug assertions are on and leaves
    /// a record elsewhere.
    pub fn guard_mode(mut self, mode: GuardMode) -> Self {
        self.guard_mode = mode;
        self
    }

    /// Builds the auditor.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] where records would have nowhere to go, or could be lost without anybody
    /// having said so.
    pub fn build(mut self) -> Result<Auditor, ConfigError> {
        let settings = Settings {
            delivery: self.delivery,
            delivery_is_for_all: self.delivery_is_for_all,
            require_context: self.require_context,
            max_record_bytes: positive(
                "max_record_bytes",
                self.max_record_bytes,
                DEFAULT_MAX_RECORD_BYTES,
            )?,
            max_transaction_bytes: positive(
                "max_transaction_bytes",
                self.max_transaction_bytes,
                DEFAULT_MAX_TRANSACTION_BYTES,
            )?,
            guard_mode: self.guard_mode,
            guarded: std::mem::take(&mut self.guarded),
        };
        self.check()?;
        let own = self.queue.take();
        let redis = self.open_redis(settings.max_record_bytes)?;
        let journal = self.open_journal(settings.max_record_bytes)?;
        let queue = match (redis, journal) {
            (Some(redis), Some(journal)) => Some(forwarded(journal, redis)?),
            (redis, journal) => own.or(redis).or(journal),
        };
        Ok(Auditor::new(queue, settings))
    }

    /// Before anything is opened: a refused configuration leaves no file behind.
    fn check(&self) -> Result<(), ConfigError> {
        let (redis, journal) = (self.has_redis(), self.has_journal());
        if self.without_journal && journal {
            return Err(ConfigError::JournalAndNone);
        }
        match (self.queue.is_some(), redis, journal) {
            (true, false, false) | (false, _, true) => Ok(()),
            (true, _, _) => Err(ConfigError::TwoQueues),
            (false, true, false) if self.without_journal => Ok(()),
            (false, true, false) => Err(ConfigError::NoJournal),
            (false, false, false) if self.delivery == Delivery::Transactional => Ok(()),
            (false, false, false) => Err(ConfigError::NoQueue),
        }
    }

    fn has_redis(&self) -> bool {
        #[cfg(feature = "redis")]
        return self.redis.is_some();
        #[cfg(not(feature = "redis"))]
        false
    }

    fn has_journal(&self) -> bool {
        #[cfg(feature = "journal")]
        return self.journal.is_some();
        #[cfg(not(feature = "journal"))]
        false
    }

    #[cfg(feature = "redis")]
    fn open_redis(&mut self, max_record_bytes: usize) -> Result<Opened, ConfigError> {
        Ok(match self.redis.take() {
            None => None,
            Some(Redis::Built(queue)) => Some(Arc::new(queue)),
            Some(Redis::Url(url)) => Some(Arc::new(
                crate::RedisQueue::builder(url)
                    .max_record_bytes(max_record_bytes + GROWTH)
                    .build()?,
            )),
        })
    }

    #[cfg(not(feature = "redis"))]
    fn open_redis(&mut self, _: usize) -> Result<Opened, ConfigError> {
        Ok(None)
    }

    #[cfg(feature = "journal")]
    fn open_journal(&mut self, max_record_bytes: usize) -> Result<Opened, ConfigError> {
        Ok(match self.journal.take() {
            None => None,
            Some(JournalAt::Open(journal)) => Some(Arc::new(journal)),
            Some(JournalAt::Path(path)) => Some(Arc::new(
                crate::Journal::builder(path)
                    .max_record_bytes(max_record_bytes + GROWTH)
                    .open()?,
            )),
        })
    }

    #[cfg(not(feature = "journal"))]
    fn open_journal(&mut self, _: usize) -> Result<Opened, ConfigError> {
        Ok(None)
    }
}

/// A queue, if one is configured.
type Opened = Option<Arc<dyn Queue>>;

#[cfg(feature = "journal")]
fn forwarded(
    journal: Arc<dyn Queue>,
    target: Arc<dyn Queue>,
) -> Result<Arc<dyn Queue>, ConfigError> {
    let queue =
        crate::queue::ForwardedQueue::start(journal, target).map_err(ConfigError::Thread)?;
    Ok(Arc::new(queue))
}

/// Without the feature there is no journal that could be forwarded.
#[cfg(not(feature = "journal"))]
fn forwarded(_: Arc<dyn Queue>, target: Arc<dyn Queue>) -> Result<Arc<dyn Queue>, ConfigError> {
    Ok(target)
}

fn positive(
    setting: &'static str,
    value: Option<usize>,
    default: usize,
) -> Result<usize, ConfigError> {
    match value {
        Some(0) => Err(ConfigError::Zero { setting }),
        Some(value) => Ok(value),
        None => Ok(default),
    }
}
