//! How a queue fares: the threads that work for it, and what waits.

use std::fmt;
use std::time::{Duration, SystemTime};

use crate::payload::Payload;
use crate::record::Record;

/// How a [`Queue`](super::Queue) fares.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct QueueStatus {
    /// The threads that carry records on.
    pub workers: Vec<WorkerStatus>,
    /// What waits in a journal: records that were not carried on, or not confirmed. The error says why
    /// the journal cannot be read now. None where there is no journal.
    pub journal: Option<Result<Backlog, super::QueueError>>,
    /// What waits in memory, because it could be handed over to nobody else. It is lost if the process
    /// ends.
    pub memory: Option<Backlog>,
}

impl QueueStatus {
    /// Adds what another queue, or another part of this one, says of itself.
    pub fn merge(&mut self, other: Self) {
        self.workers.extend(other.workers);
        self.journal = match (self.journal.take(), other.journal) {
            (Some(Ok(one)), Some(Ok(other))) => Some(Ok(one.and(other))),
            // What cannot be read must not look like nothing.
            (Some(Err(error)), _) | (_, Some(Err(error))) => Some(Err(error)),
            (one, other) => one.or(other),
        };
        self.memory = match (self.memory, other.memory) {
            (Some(one), Some(other)) => Some(one.and(other)),
            (one, other) => one.or(other),
        };
    }
}

/// A thread behind the auditor or the consumer.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct WorkerStatus {
    /// The thread's name, such as `audit-forwarder`.
    pub name: &'static str,
    /// What it is at.
    pub state: WorkerState,
}

impl WorkerStatus {
    /// A thread of this name.
    pub fn new(name: &'static str, state: WorkerState) -> Self {
        Self { name, state }
    }
}

/// What a thread is at.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum WorkerState {
    /// It works, or waits for work.
    Running,
    /// It tries again and again.
    Failing {
        /// When the first of these tries failed.
        since: SystemTime,
        /// What the latest one failed with.
        reason: String,
    },
    /// The thread has ended.
    Stopped,
}

impl fmt::Display for WorkerStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.state {
            WorkerState::Running => write!(f, "{} runs", self.name),
            WorkerState::Stopped => write!(f, "{} has stopped", self.name),
            WorkerState::Failing { since, reason } => {
                let lasts = since.elapsed().unwrap_or_default().as_secs();
                write!(f, "{} has been failing for {lasts} s: {reason}", self.name)
            }
        }
    }
}

/// Records that wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Backlog {
    /// How many.
    pub records: u64,
    /// How many bytes their payloads have together.
    pub bytes: u64,
    /// How long ago the oldest one was made, by this machine's clock. None where nothing waits, or
    /// where the oldest one cannot be read.
    pub oldest: Option<Duration>,
    /// How many of them were carried on already, and stay until they are found in the database.
    pub carried: u64,
}

impl Backlog {
    /// What waits, of which `oldest` is the payload that has waited longest.
    pub fn new(records: u64, bytes: u64, oldest: Option<&Payload>) -> Self {
        Self {
            records,
            bytes,
            oldest: oldest.and_then(age),
            carried: 0,
        }
    }

    /// What waits here and there.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self {
            records: self.records.saturating_add(other.records),
            bytes: self.bytes.saturating_add(other.bytes),
            oldest: self.oldest.max(other.oldest),
            carried: self.carried.saturating_add(other.carried),
        }
    }

    /// How many records nobody has carried on yet.
    pub fn left(&self) -> u64 {
        self.records.saturating_sub(self.carried)
    }
}

/// How long ago a record was made: its id says when, by the clock of the machine that made it. That
/// is this machine, as records wait in its journal and in its memory only.
fn age(payload: &Payload) -> Option<Duration> {
    let record = Record::decode(payload.as_bytes()).ok()?;
    let (seconds, nanos) = record.id.get_timestamp()?.to_unix();
    let made = SystemTime::UNIX_EPOCH + Duration::new(seconds, nanos);
    // A clock that was set back has made it in the future.
    Some(made.elapsed().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::context::AuditContext;
    use crate::payload::Payload;
    use crate::queue::QueueError;
    use crate::record::Record;

    #[test]
    fn the_age_of_a_backlog_is_that_of_its_oldest_record() {
        let payload = Record::new("login", AuditContext::default()).encode();
        let backlog = Backlog::new(1, 100, payload.ok().as_ref());
        assert!(
            backlog
                .oldest
                .is_some_and(|age| age < Duration::from_secs(60))
        );
        let unreadable = Payload::from(vec![1, 2, 3]);
        assert_eq!(Backlog::new(1, 3, Some(&unreadable)).oldest, None);
        assert_eq!(Backlog::new(0, 0, None).oldest, None);
    }

    #[test]
    fn two_parts_of_a_queue_are_added_up_and_neither_hides_the_other() {
        let backlog = |records, seconds: Option<u64>| Backlog {
            records,
            bytes: records * 10,
            oldest: seconds.map(Duration::from_secs),
            carried: 1,
        };
        let status = |journal, memory| QueueStatus {
            journal,
            memory,
            ..QueueStatus::default()
        };
        let unreadable = || QueueError::Unavailable {
            queue: "the journal".to_owned(),
            reason: "disk I/O error".to_owned(),
        };
        let mut sum = status(Some(Ok(backlog(1, Some(5)))), Some(backlog(2, None)));
        sum.merge(status(
            Some(Ok(backlog(3, Some(9)))),
            Some(backlog(4, None)),
        ));
        let both = |records, oldest| Backlog {
            carried: 2,
            ..backlog(records, oldest)
        };
        assert_eq!(sum.journal, Some(Ok(both(4, Some(9)))));
        assert_eq!(sum.memory, Some(both(6, None)));
        sum.merge(status(Some(Err(unreadable())), None));
        sum.merge(status(Some(Ok(backlog(1, None))), None));
        assert_eq!(sum.journal, Some(Err(unreadable())));
        assert_eq!(sum.memory, Some(both(6, None)));
    }

    #[test]
    fn a_worker_says_since_when_it_fails_and_why() {
        let since = SystemTime::now() - Duration::from_secs(90);
        let reason = "Redis is away".to_owned();
        let state = WorkerState::Failing { since, reason };
        let said = WorkerStatus::new("audit-forwarder", state).to_string();
        assert_eq!(
            said,
            "audit-forwarder has been failing for 90 s: Redis is away"
        );
    }
}
