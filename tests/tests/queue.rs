//! What every queue has to do, on all of them.

use std::cell::RefCell;
use std::collections::VecDeque;

use audit_diesel::testing::queue_conformance;
use audit_diesel::{Batch, Journal, MemoryQueue, Payload, Queue, RedisQueue};
use audit_tests::TestRedis;
use proptest::prelude::*;
use tempfile::TempDir;

#[test]
fn the_memory_queue_conforms() {
    queue_conformance(MemoryQueue::new);
}

#[test]
fn the_redis_queue_conforms() {
    let keys = RefCell::new(Vec::new());
    queue_conformance(|| {
        let key = TestRedis::new();
        let queue = redis_queue(&key);
        keys.borrow_mut().push(key);
        queue
    });
}

#[test]
fn the_journal_conforms() {
    let folders = RefCell::new(Vec::new());
    queue_conformance(|| {
        let folder = TempDir::new().unwrap();
        let queue = journal(&folder);
        folders.borrow_mut().push(folder);
        queue
    });
}

fn redis_queue(key: &TestRedis) -> RedisQueue {
    RedisQueue::builder(key.url())
        .key(key.key())
        .build()
        .unwrap()
}

fn journal(folder: &TempDir) -> Journal {
    Journal::builder(folder.path().join("journal.db"))
        .open()
        .unwrap()
}

/// Something to do to a queue.
#[derive(Debug, Clone)]
enum Step {
    Push(Vec<Vec<u8>>),
    Peek(usize),
    /// Acknowledges one of the batches seen so far, counted from the latest.
    Ack(usize),
}

fn step() -> impl Strategy<Value = Step> {
    let payload = prop::collection::vec(any::<u8>(), 0..40);
    prop_oneof![
        3 => prop::collection::vec(payload, 0..6).prop_map(Step::Push),
        3 => (0..9_usize).prop_map(Step::Peek),
        4 => prop_oneof![4 => Just(0), 1 => 0..5_usize].prop_map(Step::Ack),
    ]
}

/// The queue as it should be: nothing but a list and how much of it is gone.
#[derive(Default)]
struct Model {
    payloads: VecDeque<Vec<u8>>,
    pushed: u64,
    removed: u64,
    /// Each batch with what was gone when it was seen.
    batches: Vec<(u64, Batch)>,
}

impl Model {
    fn step(&mut self, queue: &impl Queue, step: Step) {
        match step {
            Step::Push(payloads) => self.push(queue, payloads),
            Step::Peek(limit) => self.peek(queue, limit),
            Step::Ack(ago) => self.ack(queue, ago),
        }
        assert_eq!(queue.len().unwrap(), self.payloads.len() as u64);
    }

    fn push(&mut self, queue: &impl Queue, payloads: Vec<Vec<u8>>) {
        // Records are unique by their id; so are these by a number at their end.
        let unique = payloads.into_iter().map(|mut payload| {
            self.pushed += 1;
            payload.extend(self.pushed.to_be_bytes());
            payload
        });
        let unique: Vec<_> = unique.collect();
        let payloads: Vec<_> = unique.iter().cloned().map(Payload::from).collect();
        queue.push(&payloads).unwrap();
        self.payloads.extend(unique);
    }

    fn peek(&mut self, queue: &impl Queue, limit: usize) {
        let batch = queue.peek(limit).unwrap();
        let seen = batch.payloads.iter().map(Payload::as_bytes);
        assert!(seen.eq(self.payloads.iter().take(limit).map(Vec::as_slice)));
        let behind = queue.peek_behind(&batch, limit).unwrap();
        let expected = self.payloads.iter().skip(batch.len()).take(limit);
        let seen = behind.payloads.iter().map(Payload::as_bytes);
        // A queue that cannot look there says that there is nothing.
        assert!(behind.is_empty() || seen.eq(expected.map(Vec::as_slice)));
        self.batches.push((self.removed, batch));
    }

    fn ack(&mut self, queue: &impl Queue, ago: usize) {
        let Some((seen_at, batch)) = self.batches.iter().rev().nth(ago) else {
            return;
        };
        let expected = if *seen_at == self.removed {
            batch.len()
        } else {
            0
        };
        assert_eq!(queue.ack(batch).unwrap(), expected);
        self.payloads.drain(..expected);
        self.removed += expected as u64;
    }
}

fn behaves_like_the_model(queue: &impl Queue, steps: Vec<Step>) {
    let mut model = Model::default();
    for step in steps {
        model.step(queue, step);
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 64,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn the_memory_queue_behaves_like_the_model(steps in prop::collection::vec(step(), 1..60)) {
        behaves_like_the_model(&MemoryQueue::new(), steps);
    }

    #[test]
    fn the_redis_queue_behaves_like_the_model(steps in prop::collection::vec(step(), 1..60)) {
        let key = TestRedis::new();
        behaves_like_the_model(&redis_queue(&key), steps);
    }

    #[test]
    fn the_journal_behaves_like_the_model(steps in prop::collection::vec(step(), 1..60)) {
        let folder = TempDir::new().unwrap();
        behaves_like_the_model(&journal(&folder), steps);
    }
}
