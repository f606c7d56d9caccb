//! Where a worker puts what it takes from its queue.

use audit_core::{Payload, QueueError, Warning};

/// Where a worker puts what it takes from its queue.
pub(crate) trait Sink: Send + 'static {
    /// Whether it is worth a thread to prepare a batch while the one before it is delivered.
    const LOOKS_AHEAD: bool = false;

    /// What can be done with a batch before its turn comes.
    type Prepared: Send;

    /// Does that, on any thread.
    fn prepare(payloads: &[Payload]) -> Self::Prepared;

    /// Delivers payloads, durably, before it returns. An error means that nothing is known to be
    /// delivered and that trying again later is right.
    fn deliver(
        &mut self,
        payloads: &[Payload],
        prepared: Self::Prepared,
    ) -> Result<Delivery, String>;

    /// Looks for settings by which records could be lost on the way.
    fn warnings(&self) -> Result<Vec<Warning>, QueueError> {
        Ok(Vec::new())
    }
}

/// What became of a batch.
#[derive(Debug)]
pub(crate) enum Delivery {
    /// It is delivered, and can be acknowledged.
    Done(Tally),
    /// Another worker is at it.
    StandBy,
}

/// What a delivered batch consisted of.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) stored: usize,
    pub(crate) duplicates: usize,
    pub(crate) quarantined: usize,
    pub(crate) rolled_back: usize,
    /// Payloads that have to wait: they go to the end of the queue.
    pub(crate) put_off: Vec<Payload>,
}
