//! The queues that outlive the process: a Redis list, and a journal in a SQLite file.
#![cfg(any(feature = "redis", feature = "journal"))]

#[cfg(feature = "redis")]
mod buffered;
#[cfg(feature = "redis")]
mod forward;
#[cfg(all(feature = "redis", feature = "journal"))]
mod forwarded;
#[cfg(feature = "journal")]
mod journal;
#[cfg(feature = "journal")]
mod reconciled;
#[cfg(feature = "redis")]
mod redis;

#[cfg(feature = "redis")]
pub(crate) use buffered::BufferedQueue;
#[cfg(all(feature = "redis", feature = "journal"))]
pub(crate) use forwarded::{Confirmation, ForwardedQueue};
#[cfg(feature = "journal")]
pub use journal::{Fsync, Journal, JournalBuilder};
#[cfg(feature = "journal")]
pub(crate) use reconciled::ReconciledJournal;
#[cfg(feature = "redis")]
pub use redis::{RedisQueue, RedisQueueBuilder};

use audit_core::{Payload, QueueError};

/// Where an auditor's records go.
#[cfg(feature = "redis")]
#[derive(Clone)]
pub(crate) struct Target {
    pub(crate) queue: std::sync::Arc<dyn audit_core::Queue>,
    /// The same queue for callers, who do not wait as long as a thread in the background may.
    pub(crate) direct: std::sync::Arc<dyn audit_core::Queue>,
    /// What the application signs its records with.
    pub(crate) signing_key: Option<audit_core::SigningKey>,
}

#[cfg(feature = "redis")]
impl Target {
    /// A target whose panics are errors: records that it panics on wait as if it were away.
    pub(crate) fn contained(
        queue: std::sync::Arc<dyn audit_core::Queue>,
        direct: std::sync::Arc<dyn audit_core::Queue>,
        counters: &std::sync::Arc<crate::auditor::DeliveryCounters>,
        signing_key: Option<audit_core::SigningKey>,
    ) -> Self {
        use crate::contained::ContainedQueue;

        Self {
            queue: std::sync::Arc::new(ContainedQueue::around(queue, &counters.panics)),
            direct: std::sync::Arc::new(ContainedQueue::around(direct, &counters.panics)),
            signing_key,
        }
    }
}

/// Waits until a thread has done what it found at the call.
fn settle(
    worker: &crate::consumer::Worker,
    timeout: std::time::Duration,
    name: impl Fn() -> String,
) -> Result<(), QueueError> {
    let settled = worker.flush(timeout);
    settled.map_err(|error| QueueError::Unavailable {
        queue: name(),
        reason: error.to_string(),
    })
}

/// The most that one peek holds in memory, so that a backlog of large records cannot exhaust it.
/// A single larger payload still comes through, alone.
const PEEK_BYTES: usize = 8 << 20;

/// The default bound of one payload.
const MAX_RECORD_BYTES: usize = 1 << 20;

/// What went wrong, before it is known which queue says so.
#[derive(Debug)]
enum Fault {
    /// Trying again later is right.
    Away(String),
    /// There was no answer in time.
    #[cfg_attr(
        not(feature = "redis"),
        expect(dead_code, reason = "a file needs no time-out")
    )]
    Late(String),
    /// The connection was closed while it was used.
    #[cfg_attr(
        not(feature = "redis"),
        expect(dead_code, reason = "only Redis closes connections")
    )]
    Cut(String),
    /// The list is not, or not yet, the one of this queue's owner.
    #[cfg_attr(
        not(feature = "redis"),
        expect(dead_code, reason = "a file is one application's")
    )]
    Unclaimed,
    /// Trying again will not help.
    Wrong(String),
}

impl Fault {
    fn away(reason: impl Into<String>) -> Self {
        Self::Away(reason.into())
    }

    fn wrong(reason: impl Into<String>) -> Self {
        Self::Wrong(reason.into())
    }

    /// As [`of`](Self::of), for what is sent to be kept.
    #[cfg(feature = "redis")]
    fn while_sending(self, queue: String) -> QueueError {
        match self {
            Self::Cut(reason) => QueueError::Closed { queue, reason },
            other => other.of(queue),
        }
    }

    fn of(self, queue: String) -> QueueError {
        match self {
            Self::Away(reason) | Self::Late(reason) | Self::Cut(reason) => {
                QueueError::Unavailable { queue, reason }
            }
            Self::Unclaimed => QueueError::Unavailable {
                queue,
                reason: "another one claims it at this moment".to_owned(),
            },
            Self::Wrong(reason) => QueueError::Misconfigured { queue, reason },
        }
    }
}

/// Refuses the call that holds an oversized payload; otherwise says how many bytes it holds.
fn total_bytes(
    payloads: &[Payload],
    max_bytes: usize,
    queue: impl Fn() -> String,
) -> Result<usize, QueueError> {
    let mut total = 0;
    for payload in payloads {
        let bytes = payload.as_bytes().len();
        if bytes > max_bytes {
            return Err(QueueError::TooLarge {
                queue: queue(),
                bytes,
                max_bytes,
            });
        }
        total += bytes;
    }
    Ok(total)
}
