//! Where a worker puts what it takes from its queue.

use std::time::Duration;

use audit_core::{Payload, QueueError, Warning};

/// Where a worker puts what it takes from its queue.
pub(crate) trait Sink: Send + 'static {
    /// Whether it is worth a thread to prepare a batch while the one before it is delivered.
    const LOOKS_AHEAD: bool = false;

    /// What can be done with a batch before its turn comes.
    type Prepared: Send;

    /// Does that, on any thread.
    fn prepare(payloads: &[Payload]) -> Self::Prepared;

    /// Is called once, on the worker's thread, before anything else.
    fn begin(&mut self) {}

    /// Delivers payloads, durably, before it returns. An error means that nothing is known to be
    /// delivered and that trying again later is right.
    fn deliver(
        &mut self,
        payloads: &[Payload],
        prepared: Self::Prepared,
    ) -> Result<Delivery, Undelivered>;

    /// Sends what changes nothing, over one connection. A sink that never says
    /// [`Cut`](Undelivered::Cut) is not asked.
    fn control(&mut self, _: &Control<'_>) -> Result<(), Undelivered> {
        Err(Undelivered::Outage("it cannot be tried out".to_owned()))
    }

    /// Puts a payload where it is in nobody's way, with the reason, unless it is delivered by now. A
    /// sink that never says [`Cut`](Undelivered::Cut) is not asked.
    fn set_aside(&mut self, _: &Payload, _reason: &str) -> Result<Delivery, Undelivered> {
        Err(Undelivered::Outage("there is no quarantine".to_owned()))
    }

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
    /// Another worker is at it; who that is, where it is known.
    StandBy(Option<String>),
}

/// Why a batch is not delivered.
#[derive(Debug)]
pub(crate) enum Undelivered {
    /// Nothing was tried: what it needs is away.
    Outage(String),
    /// It was tried, and what failed says nothing about a payload. It may have been too much at once.
    Failed(String),
    /// It was tried, and no payload would have been taken, until somebody mends what it says.
    Unusable(String),
    /// The connection worked, and was closed while the payloads were on it: by chance, or because
    /// of one of them.
    Cut(String),
}

impl From<String> for Undelivered {
    fn from(problem: String) -> Self {
        Self::Outage(problem)
    }
}

impl From<Undelivered> for String {
    fn from(undelivered: Undelivered) -> Self {
        match undelivered {
            Undelivered::Outage(problem)
            | Undelivered::Failed(problem)
            | Undelivered::Unusable(problem)
            | Undelivered::Cut(problem) => problem,
        }
    }
}

/// What is sent to see whether a connection holds: more bytes than a payload has, in small
/// pieces, for longer than that was on its connection.
pub(crate) struct Control<'a> {
    pub(crate) like: &'a Payload,
    pub(crate) at_least: Duration,
    /// Whether somebody waits for the worker's end.
    pub(crate) is_stopped: &'a dyn Fn() -> bool,
}

/// What a delivered batch consisted of.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) stored: usize,
    pub(crate) duplicates: usize,
    pub(crate) quarantined: usize,
    /// Of the quarantined ones, those that ended their connection.
    pub(crate) poison: usize,
    /// Of the quarantined ones, those whose id a stored record has that says something else.
    pub(crate) contradicting: usize,
    pub(crate) rolled_back: usize,
    /// Payloads that have to wait: they go to the end of the queue.
    pub(crate) put_off: Vec<Payload>,
}
