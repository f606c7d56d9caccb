//! What is done beside a delivery: the batch before it is acknowledged, and the one behind it is
//! peeked and made ready, so that the database need not wait for the queue.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::thread::{self, ScopedJoinHandle};

use audit_core::{Batch, QueueError};

use super::shared::Shared;
use super::{Delivery, Sink, Undelivered};
use crate::failpoint::failpoint;
use crate::panics;

/// A batch and what could be done with it before its turn.
pub(super) struct Ready<P> {
    pub(super) batch: Batch,
    pub(super) prepared: P,
}

impl<P> Ready<P> {
    pub(super) fn new<S: Sink<Prepared = P>>(batch: Batch) -> Self {
        let prepared = S::prepare(&batch.payloads);
        Self { batch, prepared }
    }
}

/// What came of a delivery and of what was done beside it.
pub(super) struct Outcome<P> {
    pub(super) batch: Batch,
    pub(super) delivery: Result<Delivery, Undelivered>,
    /// How many payloads of the batch before were acknowledged; `None` where that was not done.
    pub(super) acknowledged: Option<Result<usize, QueueError>>,
    /// What stands behind the delivered batch, where that is known.
    pub(super) next: Option<Ready<P>>,
}

/// What is done beside a delivery.
struct Beside<P> {
    acknowledged: Option<Result<usize, QueueError>>,
    next: Option<Ready<P>>,
}

impl<P> Beside<P> {
    fn nothing() -> Self {
        Self {
            acknowledged: None,
            next: None,
        }
    }
}

/// Delivers a batch, and meanwhile acknowledges the one `before` it, which is delivered already,
/// and looks for the one behind it.
pub(super) fn deliver<S: Sink>(
    shared: &Shared,
    sink: &mut S,
    before: Option<&Batch>,
    current: Ready<S::Prepared>,
) -> Outcome<S::Prepared> {
    let Ready { batch, prepared } = current;
    // A batch that is not full is most likely the last one.
    let look_ahead = S::LOOKS_AHEAD && batch.len() >= shared.settings.batch_size;
    let (delivery, beside) = if before.is_some() || look_ahead {
        // What a thread panicked with must not be left in it: it is dropped there, which may
        // panic again, and that aborts.
        let helps = || panics::caught(|| beside::<S>(shared, before, &batch, look_ahead));
        let (delivery, helped) = thread::scope(|scope| {
            let helper = thread::Builder::new()
                .name(format!("{}-ahead", shared.settings.name))
                .spawn_scoped(scope, helps);
            let delivery = AssertUnwindSafe(|| sink.deliver(&batch.payloads, prepared));
            // Where there is no thread to be had, one thing is done after the other.
            (
                catch_unwind(delivery),
                helper.map_or_else(|_| Ok(Beside::nothing()), finished),
            )
        });
        // A panic there is one of the worker, which sees to it.
        let delivery = delivery.unwrap_or_else(|panic| resume_unwind(panic));
        (
            delivery,
            helped.unwrap_or_else(|problem| resume_unwind(Box::new(problem))),
        )
    } else {
        let delivery = sink.deliver(&batch.payloads, prepared);
        (delivery, Beside::nothing())
    };
    Outcome {
        batch,
        delivery,
        acknowledged: beside.acknowledged,
        next: beside.next,
    }
}

fn finished<T>(helper: ScopedJoinHandle<'_, Result<T, String>>) -> Result<T, String> {
    helper
        .join()
        .unwrap_or_else(|panic| Err(panics::message(panic)))
}

fn beside<S: Sink>(
    shared: &Shared,
    before: Option<&Batch>,
    current: &Batch,
    look_ahead: bool,
) -> Beside<S::Prepared> {
    let acknowledged = before.map(|batch| acknowledge(shared, batch));
    let in_place = match (&acknowledged, before) {
        (Some(Ok(removed)), Some(batch)) => *removed == batch.len(),
        (Some(Err(_)), _) => false,
        _ => true,
    };
    // Where somebody else took payloads away, what stands behind is not where it was.
    let next = (in_place && look_ahead).then(|| behind::<S>(shared, current));
    Beside {
        acknowledged,
        next: next.flatten(),
    }
}

/// Takes a delivered batch away from the queue.
pub(super) fn acknowledge(shared: &Shared, batch: &Batch) -> Result<usize, QueueError> {
    let removed = shared.queue.ack(batch)?;
    failpoint!(shared.settings.name, "acknowledged");
    Ok(removed)
}

/// A hint only: whoever delivers finds out what is wrong with the queue.
fn behind<S: Sink>(shared: &Shared, current: &Batch) -> Option<Ready<S::Prepared>> {
    let limit = shared.settings.batch_size;
    let batch = shared.queue.peek_behind(current, limit).ok()?;
    failpoint!(shared.settings.name, "peeked");
    (!batch.is_empty()).then(|| Ready::new::<S>(batch))
}
