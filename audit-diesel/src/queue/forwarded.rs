//! A journal in front of another queue: a push ends at the journal, and a thread carries it on.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use audit_core::{Batch, Payload, Queue, QueueError, Record};

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
        let pushed = match self.0.push(payloads) {
            // The journal took it, so it must not stand in the way of all that come after it.
            Err(QueueError::TooLarge { max_bytes, .. }) => {
                self.0.push(&fitting(payloads, max_bytes))
            }
            pushed => pushed,
        };
        pushed.map_err(|error| error.to_string())?;
        Ok(Delivery::Done(Tally {
            stored: payloads.len(),
            ..Tally::default()
        }))
    }
}

/// The payloads, with sizes in place of the values of a record that is too large.
fn fitting(payloads: &[Payload], max_bytes: usize) -> Vec<Payload> {
    let fit = |payload: &Payload| {
        if payload.as_bytes().len() <= max_bytes {
            return payload.clone();
        }
        tracing::warn!(
            bytes = payload.as_bytes().len(),
            max_bytes,
            "a record of the journal is too large for its target: its values are replaced by \
             their sizes; let the target take records as large as the journal does"
        );
        shrunk(payload, max_bytes).unwrap_or_else(|| cut(payload, max_bytes))
    };
    payloads.iter().map(fit).collect()
}

fn shrunk(payload: &Payload, max_bytes: usize) -> Option<Payload> {
    let record = Record::decode(payload.as_bytes()).ok()?;
    let shrunk = record.shrunk_to(max_bytes).encode().ok()?;
    (shrunk.as_bytes().len() <= max_bytes).then_some(shrunk)
}

/// No record any more: it ends up in quarantine, where somebody looks at it.
fn cut(payload: &Payload, max_bytes: usize) -> Payload {
    tracing::error!("a payload that cannot be made smaller is cut, and will be quarantined");
    Payload::from(payload.as_bytes()[..max_bytes].to_vec())
}
