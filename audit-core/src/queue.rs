//! The durable hand-over of records.

mod memory;
mod status;
mod warning;

pub use memory::MemoryQueue;
pub use status::{Backlog, QueueStatus, WorkerState, WorkerStatus};
pub use warning::Warning;

use std::time::Duration;

use crate::payload::Payload;

/// What a [`Queue::peek`] saw at the head of the queue; still in the queue until it is acknowledged.
#[derive(Debug, Clone, Default)]
pub struct Batch {
    /// The payloads, oldest first.
    pub payloads: Vec<Payload>,
    /// What the queue needs to recognise the batch when it is acknowledged.
    pub receipt: u64,
}

impl Batch {
    /// Whether the queue had nothing.
    pub fn is_empty(&self) -> bool {
        self.payloads.is_empty()
    }

    /// How many payloads it holds.
    pub fn len(&self) -> usize {
        self.payloads.len()
    }
}

/// The audit database that a queue's records are for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueueOwner {
    /// A name that no other database has.
    pub name: String,
    /// Whether it is the one that records are stored in, and not only the one that they come from.
    pub is_certain: bool,
}

/// Carries payloads from those who push to one who peeks and acknowledges.
///
/// Nothing is taken out to be worked on: [`peek`](Self::peek) looks, [`ack`](Self::ack) removes
/// what was stored. So nothing is ever in a consumer's hands only, and nothing has to be put back.
/// `audit_diesel::testing::queue_conformance` checks an implementation.
pub trait Queue: Send + Sync + 'static {
    /// The queue in messages and logs. It must hold no secret, such as a password in a URL.
    fn name(&self) -> String;

    /// Appends the payloads in order, all of them or none.
    ///
    /// # Errors
    ///
    /// [`QueueError::TooLarge`] refuses an oversized payload, and with it all of the call;
    /// [`QueueError::Unavailable`] may mean that they were appended and the answer was lost.
    fn push(&self, payloads: &[Payload]) -> Result<(), QueueError>;

    /// Looks at the oldest payloads: at most `limit`, fewer where they are large. Whoever finds fewer,
    /// of less than 4 MiB together, takes it that there are no more for the moment.
    ///
    /// # Errors
    ///
    /// [`QueueError::Unavailable`] and its like; nothing has changed then.
    fn peek(&self, limit: usize) -> Result<Batch, QueueError>;

    /// Looks at what stands behind a batch that is at the head of the queue and not acknowledged
    /// yet, so that a consumer can make it ready meanwhile. It is a batch like any other once the
    /// one before it is acknowledged. A queue that cannot do this, or finds that others took payloads
    /// away, says that there is nothing.
    ///
    /// # Errors
    ///
    /// As [`peek`](Self::peek).
    fn peek_behind(&self, batch: &Batch, limit: usize) -> Result<Batch, QueueError> {
        let _ = (batch, limit);
        Ok(Batch::default())
    }

    /// Removes the batch if it is still at the head of the queue, and says how many payloads that
    /// were. An acknowledgement that comes twice or too late removes nothing.
    ///
    /// # Errors
    ///
    /// [`QueueError::Unavailable`] and its like; the batch may be removed or not.
    fn ack(&self, batch: &Batch) -> Result<usize, QueueError>;

    /// Appends payloads that were peeked and have to wait, before they are acknowledged. A queue with a
    /// journal or memory in front of it overrides this: they stay where they were peeked.
    ///
    /// # Errors
    ///
    /// As [`push`](Self::push).
    fn put_off(&self, payloads: &[Payload]) -> Result<(), QueueError> {
        self.push(payloads)
    }

    /// How many payloads wait.
    ///
    /// # Errors
    ///
    /// [`QueueError::Unavailable`] and its like.
    fn len(&self) -> Result<u64, QueueError>;

    /// Whether nothing waits.
    ///
    /// # Errors
    ///
    /// As [`len`](Self::len).
    fn is_empty(&self) -> Result<bool, QueueError> {
        self.len().map(|len| len == 0)
    }

    /// Whether the queue may still hold this very payload, and with it what was pushed after it: a
    /// queue that cannot look for one says so as long as it holds anything. A journal in front of
    /// the queue finds out by this what the queue has given away or lost.
    ///
    /// # Errors
    ///
    /// [`QueueError::Closed`] where the queue ends its connection for this payload, and
    /// [`QueueError::Unavailable`] and its like.
    fn may_hold(&self, payload: &Payload) -> Result<bool, QueueError> {
        let _ = payload;
        self.is_empty().map(|empty| !empty)
    }

    /// Whether the queue's place may be shared by applications that know nothing of each other, and
    /// nobody has [said](Self::belong_to) yet whose records it carries.
    fn wants_owner(&self) -> bool {
        false
    }

    /// Says whose records the queue carries, so that it can refuse a place that is another one's. It
    /// asks no server.
    ///
    /// # Errors
    ///
    /// [`QueueError::Misconfigured`] where it was told otherwise before.
    fn belong_to(&self, owner: &QueueOwner) -> Result<(), QueueError> {
        let _ = owner;
        Ok(())
    }

    /// Makes sure that the queue's place is its owner's, and makes it so where it is nobody's yet.
    ///
    /// # Errors
    ///
    /// [`QueueError::Misconfigured`] where it is another one's, [`QueueError::Unavailable`] and its
    /// like where nobody can tell now.
    fn claim(&self) -> Result<(), QueueError> {
        Ok(())
    }

    /// Waits until everything that was pushed before the call can be peeked. A queue with a
    /// journal in front of it overrides this.
    ///
    /// # Errors
    ///
    /// [`QueueError::Unavailable`] when that takes longer than `timeout`.
    fn settle(&self, timeout: Duration) -> Result<(), QueueError> {
        let _ = timeout;
        Ok(())
    }

    /// Sends about so many bytes that change nothing, in small pieces over one connection, and goes
    /// on for so long unless `is_stopped`. It shows whether a connection holds, and so whether a
    /// payload is to blame for [`QueueError::Closed`]. A queue that never says that need not.
    ///
    /// # Errors
    ///
    /// [`QueueError::Closed`] where that connection is closed; any other where nobody can tell now.
    fn control(
        &self,
        bytes: usize,
        at_least: Duration,
        is_stopped: &dyn Fn() -> bool,
    ) -> Result<(), QueueError> {
        let _ = (bytes, at_least, is_stopped);
        Err(QueueError::Unavailable {
            queue: self.name(),
            reason: "it has no connections that could be tried out".to_owned(),
        })
    }

    /// Looks for settings by which the queue could lose what it has taken.
    ///
    /// # Errors
    ///
    /// [`QueueError::Unavailable`] and its like: nobody can tell now.
    fn warnings(&self) -> Result<Vec<Warning>, QueueError> {
        Ok(Vec::new())
    }

    /// How it fares: the threads that work for it, and what waits on this machine. It asks no server.
    fn status(&self) -> QueueStatus {
        QueueStatus::default()
    }
}

/// Why a queue could not do what it was asked to.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum QueueError {
    /// It cannot be reached, or is not ready, now. Trying again later is right.
    #[error("{queue} is unavailable: {reason}")]
    Unavailable {
        /// The queue's [name](Queue::name).
        queue: String,
        /// What happened.
        reason: String,
    },
    /// It closed the connection on which payloads were sent to it. Trying again later is right, and
    /// where it happens each time, one of the payloads may be why.
    #[error("{queue} closed the connection on which it was sent records: {reason}")]
    Closed {
        /// The queue's [name](Queue::name).
        queue: String,
        /// What happened.
        reason: String,
    },
    /// A payload is larger than the queue takes. Nothing was pushed.
    #[error("a record of {bytes} bytes is larger than the {max_bytes} bytes that {queue} takes")]
    TooLarge {
        /// The queue's [name](Queue::name).
        queue: String,
        /// The payload's size.
        bytes: usize,
        /// The queue's bound.
        max_bytes: usize,
    },
    /// The queue holds as much as it may.
    #[error("{queue} is full ({max_bytes} bytes): records cannot be taken until some are stored")]
    Full {
        /// The queue's [name](Queue::name).
        queue: String,
        /// The queue's bound.
        max_bytes: u64,
    },
    /// Trying again will not help: the configuration, or what stands at the queue's place, is wrong.
    #[error("{queue} cannot be used: {reason}")]
    Misconfigured {
        /// The queue's [name](Queue::name).
        queue: String,
        /// What is wrong, and what to do.
        reason: String,
    },
}
