//! Opening the queues that a builder names, and putting one in front of the other.

use std::sync::Arc;

use audit_core::Queue;

#[cfg(feature = "journal")]
use super::JournalAt;
#[cfg(feature = "redis")]
use super::Redis;
use super::{AuditorBuilder, ConfigError, DeliveryCounters};
use crate::auditor::PreparedRecords;
#[cfg(feature = "journal")]
use crate::consumer::say;
#[cfg(all(feature = "redis", feature = "journal"))]
use crate::queue::ForwardedQueue;
#[cfg(feature = "redis")]
use crate::queue::{BufferedQueue, Target};

#[cfg(feature = "redis")]
const DEFAULT_BUFFER_BYTES: usize = 64 << 20;

/// How long a caller waits for Redis: less than a thread in the background may.
#[cfg(feature = "redis")]
const CALLERS_TIMEOUT: std::time::Duration = std::time::Duration::from_millis(250);

#[cfg(all(feature = "redis", feature = "journal"))]
const DEFAULT_CONFIRM_AFTER: std::time::Duration = std::time::Duration::from_secs(5);

/// What a record may grow by after the auditor has measured it.
#[cfg(any(feature = "redis", feature = "journal"))]
const GROWTH: usize = 1 << 10;

type Counters = Arc<DeliveryCounters>;

type OpenedPrepared = Result<Option<Box<dyn PreparedRecords>>, ConfigError>;

type Opened = Result<Arc<dyn Queue>, ConfigError>;

impl AuditorBuilder {
    #[cfg(all(feature = "redis", feature = "journal"))]
    pub(super) fn open(mut self, max_record_bytes: usize, counters: &Counters) -> Opened {
        let target = self.open_redis(max_record_bytes, counters)?;
        let journal = self.open_journal(max_record_bytes)?;
        match (target, journal) {
            (Some(target), Some(journal)) => {
                say(&journal.warnings().unwrap_or_default());
                let spill_bytes = self.memory_bytes();
                started(ForwardedQueue::start(
                    journal,
                    target,
                    self.confirm,
                    self.confirm_after.unwrap_or(DEFAULT_CONFIRM_AFTER),
                    counters.clone(),
                    spill_bytes,
                ))
            }
            (Some(target), None) => self.buffered(target, counters),
            (None, Some(journal)) => Ok(alone(journal)),
            (None, None) => Err(ConfigError::NoQueue),
        }
    }

    #[cfg(all(feature = "redis", not(feature = "journal")))]
    pub(super) fn open(mut self, max_record_bytes: usize, counters: &Counters) -> Opened {
        let target = self.open_redis(max_record_bytes, counters)?;
        self.buffered(target.ok_or(ConfigError::NoQueue)?, counters)
    }

    #[cfg(all(not(feature = "redis"), feature = "journal"))]
    pub(super) fn open(mut self, max_record_bytes: usize, _: &Counters) -> Opened {
        let journal = self.open_journal(max_record_bytes)?;
        journal.ok_or(ConfigError::NoQueue).map(alone)
    }

    #[cfg(not(any(feature = "redis", feature = "journal")))]
    pub(super) fn open(self, _: usize, _: &Counters) -> Opened {
        Err(ConfigError::NoQueue)
    }

    #[cfg(feature = "redis")]
    fn buffered(self, target: Target, counters: &Counters) -> Opened {
        let max_bytes = self.memory_bytes();
        started(BufferedQueue::start(target, max_bytes, counters.clone()))
    }

    #[cfg(feature = "redis")]
    fn memory_bytes(&self) -> u64 {
        self.buffer_bytes.unwrap_or(DEFAULT_BUFFER_BYTES) as u64
    }

    #[cfg(feature = "redis")]
    fn open_redis(
        &mut self,
        max_record_bytes: usize,
        counters: &Counters,
    ) -> Result<Option<Target>, ConfigError> {
        let signing_key = self.signing_key.clone();
        Ok(match self.redis.take() {
            None => None,
            Some(Redis::Built(queue)) => {
                if let Some(owner) = &self.owner {
                    queue.name_owner(owner)?;
                }
                let queue: Arc<dyn Queue> = Arc::new(queue);
                let direct = Arc::clone(&queue);
                Some(Target::contained(queue, direct, counters, signing_key))
            }
            Some(Redis::Url(url)) => {
                let mut builder = crate::RedisQueue::builder(url);
                if let Some(owner) = self.owner.take() {
                    builder = builder.owner(owner);
                }
                let builder = builder.max_record_bytes(max_record_bytes.saturating_add(GROWTH));
                let direct = builder
                    .clone()
                    .connect_timeout(CALLERS_TIMEOUT)
                    .io_timeout(CALLERS_TIMEOUT);
                let queue = builder.build()?;
                let direct = direct.sharing(&queue).build()?;
                Some(Target::contained(
                    Arc::new(queue),
                    Arc::new(direct),
                    counters,
                    signing_key,
                ))
            }
        })
    }

    /// Opens the journal, which the queue uses as well, and starts to settle what it holds.
    #[cfg(feature = "journal")]
    pub(super) fn open_prepared(&mut self, max_record_bytes: usize) -> OpenedPrepared {
        let Some(judge) = self.judge.take() else {
            return Ok(None);
        };
        let Some(journal) = self.open_journal(max_record_bytes)? else {
            return Ok(None);
        };
        self.journal = Some(JournalAt::Open(journal.clone()));
        let started = crate::queue::ReconciledJournal::start(journal, judge);
        Ok(Some(Box::new(started.map_err(ConfigError::Thread)?)))
    }

    #[cfg(not(feature = "journal"))]
    pub(super) fn open_prepared(&mut self, _: usize) -> OpenedPrepared {
        Ok(None)
    }

    #[cfg(feature = "journal")]
    fn open_journal(
        &mut self,
        max_record_bytes: usize,
    ) -> Result<Option<crate::Journal>, ConfigError> {
        Ok(match self.journal.take() {
            None => None,
            Some(JournalAt::Open(journal)) => Some(journal),
            Some(JournalAt::Path(path)) => Some(
                crate::Journal::builder(path)
                    .max_record_bytes(max_record_bytes.saturating_add(GROWTH))
                    .open()?,
            ),
        })
    }
}

#[cfg(feature = "journal")]
fn alone(journal: crate::Journal) -> Arc<dyn Queue> {
    say(&journal.warnings().unwrap_or_default());
    Arc::new(journal)
}

#[cfg(feature = "redis")]
fn started<Q: Queue>(queue: std::io::Result<Q>) -> Opened {
    let queue = queue.map_err(ConfigError::Thread)?;
    Ok(Arc::new(queue))
}
