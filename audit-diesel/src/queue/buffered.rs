//! A queue without a journal in front of it, or with one that cannot be written: pushes go straight
//! to it, and while it is away, records wait in memory.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use audit_core::{
    Batch, MemoryQueue, Payload, Queue, QueueError, QueueOwner, QueueStatus, Warning,
};

use super::Target;
use super::forward::{Aside, Forward, settings};
use crate::auditor::DeliveryCounters;
use crate::consumer::Worker;
use crate::log::log;
use crate::store::Refused;

/// How long dropping the auditor waits for what is left in memory.
const LAST_CHANCE: Duration = Duration::from_secs(2);

/// Pushes straight to the target. The first caller who finds it away waits for its time-out; from
/// then on records go to memory, until a thread has delivered them all.
pub(crate) struct BufferedQueue {
    target: Target,
    gate: Arc<Gate>,
    forwarder: Worker,
    counters: Arc<DeliveryCounters>,
}

/// Decides whether a push goes straight on or waits.
struct Gate {
    name: String,
    buffer: MemoryQueue,
    /// As long as anything waits, what comes after it waits as well.
    waiting: Mutex<bool>,
}

impl BufferedQueue {
    /// Keeps at most `max_bytes` of payloads in memory.
    pub(crate) fn start(
        target: Target,
        max_bytes: u64,
        counters: Arc<DeliveryCounters>,
    ) -> io::Result<Self> {
        let name = target.queue.name();
        let gate = Arc::new(Gate {
            name: format!("the memory in front of {name}"),
            // The target says how large one may be.
            buffer: MemoryQueue::new()
                .max_bytes(max_bytes)
                .max_payload_bytes(usize::MAX),
            waiting: Mutex::new(false),
        });
        let sink = Forward::to(&target, Dropped(Arc::clone(&counters)));
        let forwarder = Worker::spawn(gate.clone(), sink, settings("audit-memory"))?;
        Ok(Self {
            target,
            gate,
            forwarder,
            counters,
        })
    }
}

/// There is no journal to keep it.
struct Dropped(Arc<DeliveryCounters>);

impl Aside for Dropped {
    fn put(&mut self, _: Refused) -> Result<(), String> {
        self.0.dropped(1);
        Ok(())
    }
}

impl Gate {
    fn waiting(&self) -> MutexGuard<'_, bool> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps the payloads in memory, if others wait there or the target was found away.
    fn keep(
        &self,
        payloads: &[Payload],
        away: Option<&QueueError>,
    ) -> Option<Result<(), QueueError>> {
        let mut waiting = self.waiting();
        let begins = away.filter(|_| !*waiting);
        *waiting |= away.is_some();
        let kept = waiting.then(|| self.buffer.push(payloads));
        // Whoever writes this down may be slow, or make audit records of it.
        drop(waiting);
        if let Some(error) = begins {
            log!(warn, %error, "audit records wait in memory; they are lost if this process ends");
        }
        kept.map(|kept| kept.map_err(|error| self.named(error)))
    }

    fn named(&self, error: QueueError) -> QueueError {
        match error {
            QueueError::Full { max_bytes, .. } => QueueError::Full {
                queue: self.name.clone(),
                max_bytes,
            },
            other => other,
        }
    }
}

/// What waits in memory, as the forwarder sees it.
impl Queue for Gate {
    fn name(&self) -> String {
        self.name.clone()
    }

    fn push(&self, payloads: &[Payload]) -> Result<(), QueueError> {
        self.buffer.push(payloads)
    }

    fn peek(&self, limit: usize) -> Result<Batch, QueueError> {
        self.buffer.peek(limit)
    }

    fn ack(&self, batch: &Batch) -> Result<usize, QueueError> {
        let mut waiting = self.waiting();
        let removed = self.buffer.ack(batch)?;
        let ends = *waiting && self.buffer.is_empty()?;
        *waiting &= !ends;
        drop(waiting);
        if ends {
            log!(
                info,
                "all audit records that waited in memory are delivered"
            );
        }
        Ok(removed)
    }

    fn len(&self) -> Result<u64, QueueError> {
        self.buffer.len()
    }
}

impl Queue for BufferedQueue {
    fn name(&self) -> String {
        self.target.queue.name()
    }

    fn push(&self, payloads: &[Payload]) -> Result<(), QueueError> {
        if let Some(kept) = self.gate.keep(payloads, None) {
            return kept;
        }
        match self.target.direct.push(payloads) {
            Ok(()) => Ok(()),
            Err(error @ QueueError::TooLarge { .. }) => Err(error),
            Err(error) => self.gate.keep(payloads, Some(&error)).unwrap_or(Err(error)),
        }
    }

    fn peek(&self, limit: usize) -> Result<Batch, QueueError> {
        self.target.queue.peek(limit)
    }

    fn peek_behind(&self, batch: &Batch, limit: usize) -> Result<Batch, QueueError> {
        self.target.queue.peek_behind(batch, limit)
    }

    fn ack(&self, batch: &Batch) -> Result<usize, QueueError> {
        self.target.queue.ack(batch)
    }

    fn put_off(&self, payloads: &[Payload]) -> Result<(), QueueError> {
        self.target.queue.put_off(payloads)
    }

    fn len(&self) -> Result<u64, QueueError> {
        self.target.queue.len()
    }

    fn may_hold(&self, payload: &Payload) -> Result<bool, QueueError> {
        self.target.queue.may_hold(payload)
    }

    fn wants_owner(&self) -> bool {
        self.target.queue.wants_owner()
    }

    fn belong_to(&self, owner: &QueueOwner) -> Result<(), QueueError> {
        self.target.queue.belong_to(owner)
    }

    fn claim(&self) -> Result<(), QueueError> {
        self.target.queue.claim()
    }

    fn settle(&self, timeout: Duration) -> Result<(), QueueError> {
        super::settle(&self.forwarder, timeout, || self.name())
    }

    fn warnings(&self) -> Result<Vec<Warning>, QueueError> {
        self.target.queue.warnings()
    }

    fn status(&self) -> QueueStatus {
        let mut status = self.gate.buffer.status();
        status.workers.push(self.forwarder.status());
        status
    }
}

impl Drop for BufferedQueue {
    fn drop(&mut self) {
        let unsaid = || self.gate.buffer.len().unwrap_or(0);
        if unsaid() > 0 {
            let _ = self.forwarder.flush(LAST_CHANCE);
        }
        let _ = self.forwarder.stop();
        let records = unsaid();
        if records > 0 {
            self.counters.dropped(records);
            log!(
                error,
                records,
                "audit records that waited in memory could not be delivered and are lost"
            );
        }
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, clippy::panic, reason = "tests")]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

    use super::*;

    /// Panics at each push until it is mended, as a TLS library without its provider does.
    struct Panicking {
        queue: MemoryQueue,
        mended: AtomicBool,
    }

    impl Queue for Panicking {
        fn name(&self) -> String {
            "the panicking queue".to_owned()
        }

        fn push(&self, payloads: &[Payload]) -> Result<(), QueueError> {
            match self.mended.load(SeqCst) {
                true => self.queue.push(payloads),
                false => panic!("no provider"),
            }
        }

        fn peek(&self, limit: usize) -> Result<Batch, QueueError> {
            self.queue.peek(limit)
        }

        fn ack(&self, batch: &Batch) -> Result<usize, QueueError> {
            self.queue.ack(batch)
        }

        fn len(&self) -> Result<u64, QueueError> {
            self.queue.len()
        }
    }

    #[test]
    fn what_a_queue_panics_on_waits_in_memory_and_is_delivered_later() {
        let counters = Arc::<DeliveryCounters>::default();
        let panicking = Arc::new(Panicking {
            queue: MemoryQueue::new(),
            mended: AtomicBool::new(false),
        });
        let target = Target::contained(panicking.clone(), panicking.clone(), &counters, None);
        let buffered = BufferedQueue::start(target, 1 << 20, Arc::clone(&counters)).unwrap();
        let payloads: Vec<_> = (0..3_u8).map(|n| Payload::from(vec![n])).collect();
        for payload in payloads.chunks(1) {
            buffered.push(payload).unwrap();
        }
        buffered.settle(Duration::from_millis(300)).unwrap_err();
        panicking.mended.store(true, SeqCst);
        buffered.settle(Duration::from_secs(30)).unwrap();
        assert_eq!(panicking.queue.peek(9).unwrap().payloads, payloads);
    }
}
