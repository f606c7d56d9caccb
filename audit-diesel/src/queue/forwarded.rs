//! A journal in front of another queue: a push ends at the journal, and a thread carries it on.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use audit_core::{Batch, Payload, Queue, QueueError};

use crate::consumer::{Delivery, Settings, Sink, Tally, Worker};

/// What one push to the other queue carries.
const FORWARDED_AT_ONCE: usize = 500;

/// How often the forwarder looks into the journal. It does not wake at each push: carrying
/// records one by one would cost more than it hastens.
const INTERVAL: Duration = Duration::from_millis(50);

/// A queue that pushes into a journal and peeks at the target that the journal is carried to.
pub(crate) struct ForwardedQueue {
    journal: Arc<dyn Queue>,
    target: Arc<dyn Queue>,
    forwarder: Worker,
}

impl ForwardedQueue {
    /// Starts the thread that carries the journal on.
    pub(crate) fn start(journal: Arc<dyn Queue>, target: Arc<dyn Queue>) -> io::Result<Self> {
        let settings = Settings {
            name: "audit-forwarder",
            batch_size: FORWARDED_AT_ONCE,
            interval: INTERVAL,
        };
        let sink = Forward(Arc::clone(&target));
        let forwarder = Worker::spawn(Arc::clone(&journal), sink, settings)?;
        Ok(Self {
            journal,
            target,
            forwarder,
        })
    }
}

impl Queue for ForwardedQueue {
    fn name(&self) -> String {
        self.target.name()
    }

    fn push(&self, payloads: &[Payload]) -> Result<(), QueueError> {
        let Err(refused) = self.journal.push(payloads) else {
            return Ok(());
        };
        // A journal that is full or cannot be written is no reason to lose records that the
        // target may still take.
        self.target.push(payloads).map_err(|_| refused)
    }

    fn peek(&self, limit: usize) -> Result<Batch, QueueError> {
        self.target.peek(limit)
    }

    fn ack(&self, batch: &Batch) -> Result<usize, QueueError> {
        self.target.ack(batch)
    }

    fn len(&self) -> Result<u64, QueueError> {
        self.target.len()
    }

    fn settle(&self, timeout: Duration) -> Result<(), QueueError> {
        self.forwarder
            .flush(timeout)
            .map_err(|error| QueueError::Unavailable {
                queue: self.name(),
                reason: error.to_string(),
            })
    }
}

/// The forwarder's sink.
struct Forward(Arc<dyn Queue>);

impl Sink for Forward {
    fn deliver(&mut self, payloads: &[Payload]) -> Result<Delivery, String> {
        self.0.push(payloads).map_err(|error| error.to_string())?;
        Ok(Delivery::Done(Tally {
            stored: payloads.len(),
            ..Tally::default()
        }))
    }
}
