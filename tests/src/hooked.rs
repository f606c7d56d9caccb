//! A queue whose calls a test can watch, fail, hold up or turn into panics.

use std::sync::Arc;
use std::time::Duration;

use audit_diesel::{Batch, Payload, Queue, QueueError, Warning};

/// A call of a queue, before it happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Call {
    /// A push of so many payloads.
    Push(usize),
    /// A peek with this limit.
    Peek(usize),
    /// A look behind a batch of so many payloads.
    PeekBehind(usize),
    /// The acknowledgement of so many payloads.
    Ack(usize),
    /// A look at the length.
    Len,
}

type Hook = Box<dyn Fn(Call) -> Result<(), QueueError> + Send + Sync>;

/// Asks a function of the test's own before each call.
#[derive(Clone)]
pub struct Hooked<Q>(Arc<(Q, Hook)>);

impl<Q: Queue> Hooked<Q> {
    /// The call happens where `hook` returns Ok.
    pub fn new(
        queue: Q,
        hook: impl Fn(Call) -> Result<(), QueueError> + Send + Sync + 'static,
    ) -> Self {
        Self(Arc::new((queue, Box::new(hook))))
    }

    /// What a hook answers so that the queue is away.
    pub fn away() -> Result<(), QueueError> {
        Err(QueueError::Unavailable {
            queue: "the hooked queue".to_owned(),
            reason: "the test says so".to_owned(),
        })
    }
}

impl<Q: Queue> Queue for Hooked<Q> {
    fn name(&self) -> String {
        self.0.0.name()
    }

    fn push(&self, payloads: &[Payload]) -> Result<(), QueueError> {
        self.0.1(Call::Push(payloads.len()))?;
        self.0.0.push(payloads)
    }

    fn peek(&self, limit: usize) -> Result<Batch, QueueError> {
        self.0.1(Call::Peek(limit))?;
        self.0.0.peek(limit)
    }

    fn peek_behind(&self, batch: &Batch, limit: usize) -> Result<Batch, QueueError> {
        self.0.1(Call::PeekBehind(batch.len()))?;
        self.0.0.peek_behind(batch, limit)
    }

    fn ack(&self, batch: &Batch) -> Result<usize, QueueError> {
        self.0.1(Call::Ack(batch.len()))?;
        self.0.0.ack(batch)
    }

    fn put_off(&self, payloads: &[Payload]) -> Result<(), QueueError> {
        self.0.1(Call::Push(payloads.len()))?;
        self.0.0.put_off(payloads)
    }

    fn len(&self) -> Result<u64, QueueError> {
        self.0.1(Call::Len)?;
        self.0.0.len()
    }

    fn settle(&self, timeout: Duration) -> Result<(), QueueError> {
        self.0.0.settle(timeout)
    }

    fn warnings(&self) -> Result<Vec<Warning>, QueueError> {
        self.0.0.warnings()
    }
}
