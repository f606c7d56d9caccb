mod open;

use std::sync::Arc;

use audit_core::{Queue, QueueError, SigningKey};

use super::{Auditor, DeliveryCounters, Settings};
use crate::AuditedSchema;
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
    #[cfg(all(feature = "redis", feature = "journal"))]
    confirm: Option<crate::queue::Confirmation>,
    #[cfg(feature = "journal")]
    judge: Option<Box<dyn crate::consumer::Judge>>,
    #[cfg(all(feature = "redis", feature = "journal"))]
    confirm_after: Option<std::time::Duration>,
    #[cfg(feature = "redis")]
    buffer_bytes: Option<usize>,
    without_journal: bool,
    delivery: Delivery,
    delivery_is_for_all: bool,
    require_context: bool,
    max_record_bytes: Option<usize>,
    max_transaction_bytes: Option<usize>,
    guard_mode: GuardMode,
    guarded: GuardedTables,
    secret_words: Vec<&'static str>,
    signing_key: Option<SigningKey>,
    #[cfg(feature = "redis")]
    owner: Option<String>,
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
        "without a journal, records made while Redis is away are in memory only: add \
         `.journal(path)`, or say `.without_journal()` if that is acceptable here"
    )]
    NoJournal,
    /// `.without_journal()` beside a journal.
    #[error("`.journal(…)` and `.without_journal()` contradict each other: drop one of them")]
    JournalAndNone,
    /// `.confirm_in(…)` without a journal.
    #[error("`.confirm_in(…)` is for a journal: add `.journal(…)`, or drop it")]
    NothingToConfirm,
    /// `Delivery::Prepared` without what it needs.
    #[error(
        "`Delivery::Prepared` writes records into a journal before COMMIT, and asks PostgreSQL what \
         became of a transaction: add `.journal(path)` and `.confirm_in(pool)`"
    )]
    NothingToPrepareIn,
    /// A bound is zero.
    #[error("{setting} must be more than 0")]
    Zero {
        /// The builder's method.
        setting: &'static str,
    },
    /// A queue cannot be used as configured.
    #[error(transparent)]
    Queue(#[from] QueueError),
    /// The operating system gave no thread to carry records on.
    #[error("the forwarder's thread cannot be started: {0}")]
    Thread(#[source] std::io::Error),
}

/// Below the 1 MiB that the queues take, as a record grows a little on its way.
const DEFAULT_MAX_RECORD_BYTES: usize = 1_000_000;
const DEFAULT_MAX_TRANSACTION_BYTES: usize = 256 << 20;

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

    /// Names the audit database that the records are for, as [`RedisQueueBuilder::owner`] does; say the
    /// same name where the consumer's queue is built. It is needed where the trail is in another
    /// database than the audited tables and in another process, and for a copy of a database.
    ///
    /// [`RedisQueueBuilder::owner`]: crate::RedisQueueBuilder::owner
    #[cfg(feature = "redis")]
    pub fn owner(mut self, name: impl Into<String>) -> Self {
        self.owner = Some(name.into());
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

    /// Says that Redis alone is meant, as where there is no disk.
    ///
    /// A record is pushed to Redis before the call that made it returns. While Redis is away,
    /// records wait in memory, up to [`buffer_bytes`](Self::buffer_bytes), and a thread delivers
    /// them when Redis is back; who first finds it away waits for a time-out, and nobody after
    /// that. What is in memory is lost if the process ends, and what does not fit is lost, counted
    /// in [`AuditorStats::failed`](crate::AuditorStats::failed).
    #[cfg(feature = "redis")]
    pub fn without_journal(mut self) -> Self {
        self.without_journal = true;
        self
    }

    /// Sets how many bytes of records are kept in memory while Redis is away, and the journal, where
    /// there is one, cannot be written; 64 MiB unless said.
    #[cfg(feature = "redis")]
    pub fn buffer_bytes(mut self, max_bytes: usize) -> Self {
        self.buffer_bytes = Some(max_bytes);
        self
    }

    /// Keeps records in the journal until they are in the `audit_logs` of this database. What Redis
    /// loses, because it was wiped, restarted without its data or replaced by a replica that
    /// lagged behind, the journal delivers again.
    ///
    /// Without it a record leaves the journal when Redis has taken it, and what Redis then loses
    /// is lost.
    ///
    /// The journal is larger this way: it holds what was made since, and what waits in Redis. It
    /// must be the database that the consumer stores to, and the role needs SELECT on `audit_logs`
    /// and `audit_quarantine`. The pool needs one connection. The application's own pool is not
    /// there yet when the auditor is built, so make a small one:
    ///
    /// ```no_run
    /// # #[cfg(feature = "postgres")] {
    /// use audit_diesel::Auditor;
    /// use diesel::PgConnection;
    /// use diesel::r2d2::{ConnectionManager, Pool};
    ///
    /// let manager = ConnectionManager::<PgConnection>::new("postgres://localhost/app");
    /// let auditor = Auditor::builder()
    ///     .redis("redis://127.0.0.1/")
    ///     .journal("var/audit-journal.db")
    ///     .confirm_in(Pool::builder().max_size(1).build_unchecked(manager))
    ///     .build();
    /// # }
    /// ```
    ///
    /// [`Delivery::Prepared`] needs it, without Redis too: there the database, or a database of the
    /// same PostgreSQL server, is asked what became of transactions, and what it cannot say goes
    /// into `audit_quarantine` there.
    #[cfg(feature = "journal")]
    pub fn confirm_in<C: crate::AuditStore>(
        mut self,
        pool: diesel::r2d2::Pool<diesel::r2d2::ConnectionManager<C>>,
    ) -> Self {
        #[cfg(feature = "redis")]
        {
            self.confirm = Some(crate::queue::Confirmation {
                fates: Box::new(crate::consumer::PoolFates::new(pool.clone())),
                judge: Box::new(crate::consumer::PoolJudge::new(pool.clone())),
                database: Box::new(crate::consumer::PoolFates::new(pool.clone())),
            });
        }
        self.judge = Some(Box::new(crate::consumer::PoolJudge::new(pool)));
        self
    }

    /// Sets how long a record gets on its way before Redis, and then the database, is asked for it;
    /// 5 s unless said.
    #[cfg(all(feature = "redis", feature = "journal"))]
    pub fn confirm_after(mut self, grace: std::time::Duration) -> Self {
        self.confirm_after = Some(grace);
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
    /// a change keeps the names of the fields, with sizes in place of values, and a larger event those of
    /// its details. A queue that was built elsewhere has a bound of its own: let it be larger.
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

    /// Signs each record that goes to a queue, so that a consumer
    /// [tells it](crate::ConsumerBuilder::verify_with) from one that somebody else has put there or
    /// changed, in the journal's file, in Redis or on the way.
    ///
    /// ```
    /// use audit_diesel::{Auditor, MemoryQueue, SigningKey};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let secret = [7; 32];
    /// let auditor = Auditor::builder()
    ///     .queue(MemoryQueue::new())
    ///     .sign_with(SigningKey::new("2026-11", secret)?)
    ///     .build()?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn sign_with(mut self, key: SigningKey) -> Self {
        self.signing_key = Some(key);
        self
    }

    /// Takes what [`audit_schema!`](crate::audit_schema) decided: the guard notices raw writes to
    /// the audited tables, and the words of `secrets` mask values in the `extra` of contexts and
    /// events. An application with several schemas calls it for each.
    pub fn schema(mut self, schema: &AuditedSchema) -> Self {
        self.secret_words.extend(schema.secret_words());
        self.guard(schema.audited())
    }

    /// Names audited tables, so that the guard notices raw writes to them: `users`, or
    /// `auth.users` for one in a PostgreSQL schema. [`schema`](Self::schema) does it by itself.
    pub fn guard<'a>(mut self, tables: impl IntoIterator<Item = &'a str>) -> Self {
        self.guarded.extend(tables);
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
            secret_words: std::mem::take(&mut self.secret_words),
            signing_key: self.signing_key.clone(),
        };
        self.check()?;
        let counters = Arc::<DeliveryCounters>::default();
        let prepared = self.open_prepared(settings.max_record_bytes)?;
        let queue = match self.queue.take() {
            Some(own) => Some(own),
            None if !self.has_redis() && !self.has_journal() => None,
            None => Some(self.open(settings.max_record_bytes, &counters)?),
        };
        Ok(Auditor::new(queue, prepared, settings, counters))
    }

    /// Before anything is opened: a refused configuration leaves no file behind.
    fn check(&self) -> Result<(), ConfigError> {
        let (redis, journal) = (self.has_redis(), self.has_journal());
        if self.without_journal && journal {
            return Err(ConfigError::JournalAndNone);
        }
        if self.confirms() && !journal {
            return Err(ConfigError::NothingToConfirm);
        }
        if self.delivery == Delivery::Prepared && !(journal && self.confirms()) {
            return Err(ConfigError::NothingToPrepareIn);
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

    fn confirms(&self) -> bool {
        #[cfg(feature = "journal")]
        return self.judge.is_some();
        #[cfg(not(feature = "journal"))]
        false
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
