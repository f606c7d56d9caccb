use audit_core::{Batch, Payload, Queue, QueueError};

/// Stands where an auditor has no queue, and says so to whoever expects one.
pub(super) struct NoQueue;

impl NoQueue {
    fn refuse<T>(&self) -> Result<T, QueueError> {
        Err(QueueError::Misconfigured {
            queue: self.name(),
            reason: "the auditor was built without one, as `Delivery::Transactional` needs none: \
                     there is nothing to consume, and whatever is recorded without a connection \
                     needs `.redis(url)` or `.journal(path)` on the auditor's builder"
                .to_owned(),
        })
    }
}

impl Queue for NoQueue {
    fn name(&self) -> String {
        "the queue of a transactional auditor".to_owned()
    }

    fn push(&self, _: &[Payload]) -> Result<(), QueueError> {
        self.refuse()
    }

    fn peek(&self, _: usize) -> Result<Batch, QueueError> {
        self.refuse()
    }

    fn ack(&self, _: &Batch) -> Result<usize, QueueError> {
        self.refuse()
    }

    fn len(&self) -> Result<u64, QueueError> {
        self.refuse()
    }
}
