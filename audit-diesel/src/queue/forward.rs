//! Carrying payloads on to another queue.

mod fit;

use std::sync::Arc;
use std::time::Duration;

use audit_core::{Payload, Queue, QueueError, Warning};

use super::Target;
use crate::consumer::{Control, Delivery, Settings, Sink, Tally, Undelivered};
use crate::log::log;
use crate::store::Refused;
pub(in crate::queue) use fit::Fit;

/// What one push to the other queue carries.
pub(super) const FORWARDED_AT_ONCE: usize = 500;

/// How often the forwarder looks for something to carry. It does not wake at each push: carrying
/// records one by one would cost more than it hastens.
pub(super) const INTERVAL: Duration = Duration::from_millis(50);

/// How a thread works that carries payloads on.
pub(super) fn settings(name: &'static str) -> Settings {
    Settings {
        name,
        batch_size: FORWARDED_AT_ONCE,
        interval: INTERVAL,
        stand_by: Duration::from_secs(1),
        // The longest that a queue is back before this is noticed.
        longest_backoff: Duration::from_secs(2),
    }
}

/// Carries payloads on.
pub(super) struct Forward {
    target: Arc<dyn Queue>,
    fit: Arc<Fit>,
    aside: Box<dyn Aside>,
}

/// Takes what the target ends its connection for.
pub(super) trait Aside: Send {
    fn put(&mut self, refused: Refused) -> Result<(), String>;
}

impl Forward {
    pub(super) fn to(target: &Target, aside: impl Aside + 'static) -> Self {
        Self {
            target: Arc::clone(&target.queue),
            fit: Arc::new(Fit::new(target.signing_key.clone())),
            aside: Box::new(aside),
        }
    }

    /// What the target turned out to take.
    #[cfg(feature = "journal")]
    pub(super) fn fit(&self) -> Arc<Fit> {
        Arc::clone(&self.fit)
    }
}

impl Sink for Forward {
    type Prepared = ();

    fn prepare(_: &[Payload]) {}

    fn deliver(&mut self, payloads: &[Payload], (): ()) -> Result<Delivery, Undelivered> {
        let pushed = match self.target.push(payloads) {
            // It was taken before, so it must not stand in the way of all that come after it.
            Err(QueueError::TooLarge { max_bytes, .. }) => {
                self.fit.learn(max_bytes);
                self.fit.warn(payloads);
                let fitting = payloads.iter().map(|payload| self.fit.fitting(payload));
                self.target.push(&fitting.collect::<Vec<_>>())
            }
            pushed => pushed,
        };
        pushed.map_err(undelivered)?;
        Ok(Delivery::Done(Tally {
            stored: payloads.len(),
            ..Tally::default()
        }))
    }

    fn control(&mut self, control: &Control<'_>) -> Result<(), Undelivered> {
        let bytes = control.like.as_bytes().len() * 2;
        let held = self
            .target
            .control(bytes, control.at_least, control.is_stopped);
        held.map_err(undelivered)
    }

    fn set_aside(&mut self, payload: &Payload, reason: &str) -> Result<Delivery, Undelivered> {
        let refused = Refused::new(payload, reason);
        log!(
            error,
            quarantine_id = %refused.id(),
            reason = refused.reason_without_values(),
            "an audit record is not carried on to its queue"
        );
        self.aside.put(refused)?;
        Ok(Delivery::Done(Tally {
            quarantined: 1,
            poison: 1,
            ..Tally::default()
        }))
    }

    fn warnings(&self) -> Result<Vec<Warning>, QueueError> {
        self.target.warnings()
    }
}

fn undelivered(error: QueueError) -> Undelivered {
    match error {
        QueueError::Closed { .. } => Undelivered::Cut(error.to_string()),
        _ => Undelivered::Outage(error.to_string()),
    }
}
