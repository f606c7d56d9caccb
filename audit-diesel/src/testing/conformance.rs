#![expect(
    clippy::expect_used,
    clippy::panic,
    reason = "a test says what is wrong by panicking"
)]

use std::collections::HashSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use audit_core::{AuditContext, Batch, Payload, Queue, QueueError, Record};

/// Checks that a [`Queue`] keeps what the trait promises, and panics where it does not.
///
/// `make` returns a new, empty queue at each call, which takes payloads of 64 KiB and at least
/// 4 MiB in all. Nobody else may use the queue meanwhile.
///
/// ```
/// use audit_diesel::{MemoryQueue, testing::queue_conformance};
///
/// queue_conformance(MemoryQueue::new);
/// ```
pub fn queue_conformance<Q: Queue>(make: impl Fn() -> Q) {
    a_new_queue_is_empty(&make());
    order_is_kept(&make());
    a_peek_removes_nothing(&make());
    a_peek_keeps_to_its_limit(&make());
    a_peek_of_large_payloads_returns_some(&make());
    an_acknowledgement_removes_its_batch(&make());
    an_acknowledgement_works_once(&make());
    a_late_acknowledgement_removes_nothing(&make());
    a_late_acknowledgement_spares_what_nobody_saw(&make(), texts(["a", "b", "c", "d"]));
    a_late_acknowledgement_spares_what_nobody_saw(&make(), records());
    a_late_acknowledgement_spares_what_was_put_off(&make());
    what_stands_behind_a_batch_is_one_too(&make());
    an_empty_push_does_nothing(&make());
    an_oversized_payload_refuses_the_push(&make());
    bytes_come_back_as_they_were(&make());
    concurrent_pushes_are_all_kept(&make());
    concurrent_consumers_miss_nothing(&make());
}

fn a_new_queue_is_empty(queue: &impl Queue) {
    assert!(!queue.name().is_empty(), "a queue has a name");
    assert_eq!(len(queue), 0, "`make` must return an empty queue");
    assert!(queue.is_empty().expect("is_empty"));
    let batch = peek(queue, 10);
    assert!(batch.is_empty(), "a peek into an empty queue");
    assert_eq!(ack(queue, &batch), 0, "acknowledging an empty batch");
}

fn order_is_kept(queue: &impl Queue) {
    push(queue, &texts(["a", "b", "c"]));
    push(queue, &texts(["d"]));
    push(queue, &texts(["e", "f"]));
    let expected = texts(["a", "b", "c", "d", "e", "f"]);
    assert_eq!(read(&peek(queue, 10)), read_all(&expected), "order");
}

fn a_peek_removes_nothing(queue: &impl Queue) {
    push(queue, &texts(["a", "b"]));
    let first = peek(queue, 10);
    let second = peek(queue, 10);
    assert_eq!(read(&first), read(&second), "a second peek sees the same");
    assert_eq!(len(queue), 2, "a peek removes nothing");
}

fn a_peek_keeps_to_its_limit(queue: &impl Queue) {
    push(queue, &numbered(0, 100));
    for limit in [0, 1, 31, 32, 33, 99, 100, 101, usize::MAX] {
        let batch = peek(queue, limit);
        let expected = numbered(0, limit.min(100));
        assert_eq!(
            read(&batch),
            read_all(&expected),
            "a peek of {limit} of 100"
        );
    }
}

fn a_peek_of_large_payloads_returns_some(queue: &impl Queue) {
    let payloads: Vec<_> = (0..48).map(|n| Payload::from(vec![n; 64 << 10])).collect();
    push(queue, &payloads);
    let mut seen = Vec::new();
    while len(queue) > 0 {
        let batch = peek(queue, 48);
        assert!(
            !batch.is_empty(),
            "a peek must see something while the queue has something"
        );
        seen.extend(batch.payloads.iter().cloned());
        assert!(
            seen.len() <= payloads.len(),
            "a peek must not see what was acknowledged"
        );
        assert_eq!(ack(queue, &batch), batch.len(), "nobody else acknowledges");
    }
    assert_eq!(read_all(&seen), read_all(&payloads), "large payloads");
}

fn an_acknowledgement_removes_its_batch(queue: &impl Queue) {
    push(queue, &numbered(0, 10));
    let batch = peek(queue, 4);
    push(queue, &numbered(10, 2));
    assert_eq!(ack(queue, &batch), 4, "what an acknowledgement removes");
    assert_eq!(len(queue), 8);
    let rest = peek(queue, 100);
    assert_eq!(read(&rest), read_all(&numbered(4, 8)), "what it leaves");
    assert_eq!(ack(queue, &rest), 8);
    assert_eq!(len(queue), 0);
    push(queue, &texts(["later"]));
    assert_eq!(
        read(&peek(queue, 10)),
        ["later"],
        "an emptied queue takes more"
    );
}

fn an_acknowledgement_works_once(queue: &impl Queue) {
    push(queue, &numbered(0, 6));
    let batch = peek(queue, 2);
    assert_eq!(ack(queue, &batch), 2);
    assert_eq!(
        ack(queue, &batch),
        0,
        "the second acknowledgement of a batch"
    );
    assert_eq!(ack(queue, &batch), 0, "the third");
    assert_eq!(read(&peek(queue, 10)), read_all(&numbered(2, 4)));
}

fn a_late_acknowledgement_removes_nothing(queue: &impl Queue) {
    push(queue, &numbered(0, 6));
    let (short, long) = (peek(queue, 2), peek(queue, 4));
    assert_eq!(ack(queue, &short), 2);
    assert_eq!(ack(queue, &long), 0, "its head is gone");
    assert_eq!(read(&peek(queue, 10)), read_all(&numbered(2, 4)));

    let (long, short) = (peek(queue, 4), peek(queue, 2));
    assert_eq!(ack(queue, &long), 4);
    assert_eq!(ack(queue, &short), 0, "all of it is gone");
    push(queue, &numbered(6, 4));
    assert_eq!(ack(queue, &short), 0, "and others came since");
    assert_eq!(ack(queue, &long), 0, "and others came since");
    assert_eq!(len(queue), 4);
}

/// A push that timed out and was repeated leaves the same payloads twice. A consumer that is late
/// may then find the head of its batch at the head of the queue again, with others behind it.
fn a_late_acknowledgement_spares_what_nobody_saw(queue: &impl Queue, payloads: Vec<Payload>) {
    let [a, b, c, d] = &payloads[..] else {
        panic!("four payloads");
    };
    push(queue, &[a.clone(), b.clone()]);
    push(queue, &[a.clone(), c.clone()]);
    let late = peek(queue, 3);
    let timely = peek(queue, 2);
    assert_eq!(ack(queue, &timely), 2);
    push(queue, std::slice::from_ref(d));
    ack(queue, &late);
    let left = read(&peek(queue, 10));
    assert!(
        left.ends_with(&read_all(&[c.clone(), d.clone()])),
        "a late acknowledgement removed what was not in its batch: {left:?} is left"
    );
}

/// What goes to the end of the queue, as it has to wait, may be all that there is.
fn a_late_acknowledgement_spares_what_was_put_off(queue: &impl Queue) {
    let record = &records()[..1];
    push(queue, record);
    let first = peek(queue, 10);
    queue.put_off(record).expect("put_off");
    let second = peek(queue, 10);
    queue.put_off(record).expect("put_off");
    assert_eq!(ack(queue, &second), 2);
    for late in [&first, &second] {
        assert_eq!(ack(queue, late), 0, "a late acknowledgement");
    }
    let left = peek(queue, 10);
    let left: Vec<_> = left.payloads.iter().map(Payload::before_put_off).collect();
    assert_eq!(left, record, "what was put off is there");
}

/// Where the queue can look there; where it cannot, it says that there is nothing.
fn what_stands_behind_a_batch_is_one_too(queue: &impl Queue) {
    let behind = |batch: &Batch, limit| queue.peek_behind(batch, limit).expect("peek_behind");
    push(queue, &numbered(0, 10));
    let first = peek(queue, 4);
    let second = behind(&first, 3);
    if second.is_empty() {
        return;
    }
    assert_eq!(read(&second), read_all(&numbered(4, 3)), "what is behind");
    assert_eq!(ack(queue, &second), 0, "it is not at the head");
    assert_eq!(len(queue), 10, "nothing is removed");
    assert_eq!(ack(queue, &first), 4);
    let third = behind(&second, 100);
    assert_eq!(read(&third), read_all(&numbered(7, 3)), "what is behind");
    assert_eq!(ack(queue, &second), 3, "now it is at the head");
    assert!(behind(&third, 100).is_empty(), "nothing is behind the last");
    assert_eq!(ack(queue, &third), 3);
    assert_eq!(len(queue), 0);
}

fn an_empty_push_does_nothing(queue: &impl Queue) {
    push(queue, &[]);
    assert_eq!(len(queue), 0);
    push(queue, &texts(["a"]));
    push(queue, &[]);
    assert_eq!(len(queue), 1);
}

fn an_oversized_payload_refuses_the_push(queue: &impl Queue) {
    let bytes = 17 << 20;
    let small = Payload::from(b"small".to_vec());
    match queue.push(&[small.clone(), Payload::from(vec![b'x'; bytes]), small]) {
        Ok(()) => assert_eq!(len(queue), 3, "it was taken"),
        Err(QueueError::TooLarge {
            bytes: said,
            max_bytes,
            ..
        }) => {
            assert_eq!(said, bytes, "the size that the error names");
            assert!(max_bytes < bytes, "the bound that the error names");
            assert_eq!(len(queue), 0, "all of the push is refused");
        }
        Err(other) => panic!("an oversized payload should be `TooLarge`: {other:?}"),
    }
}

fn bytes_come_back_as_they_were(queue: &impl Queue) {
    let odd = [
        Vec::new(),
        vec![0],
        b"\r\n$3\r\nabc\r\n".to_vec(),
        b"'; DROP TABLE x; --".to_vec(),
        "\u{fffe}\u{1f980}".as_bytes().to_vec(),
        vec![0xff, 0xfe, 0x00, 0x80],
        (0..=255).collect(),
        vec![0; 64 << 10],
    ];
    let payloads = odd.map(Payload::from);
    push(queue, &payloads);
    let batch = peek(queue, 100);
    assert_eq!(batch.len(), payloads.len());
    for (sent, seen) in payloads.iter().zip(&batch.payloads) {
        assert!(sent == seen, "{sent:?} came back as something else");
    }
    assert_eq!(ack(queue, &batch), payloads.len(), "a batch of odd bytes");
    assert_eq!(len(queue), 0);
}

fn concurrent_pushes_are_all_kept(queue: &impl Queue) {
    const THREADS: usize = 4;
    const PUSHES: usize = 25;
    thread::scope(|scope| {
        for thread in 0..THREADS {
            scope.spawn(move || {
                for push_number in 0..PUSHES {
                    push(queue, &numbered(thread * 1_000 + push_number * 2, 2));
                }
            });
        }
    });
    let seen = read(&peek(queue, 1_000));
    for thread in 0..THREADS {
        let expected = read_all(&numbered(thread * 1_000, PUSHES * 2));
        let from_thread: Vec<_> = seen.iter().filter(|text| expected.contains(text)).collect();
        assert!(
            expected.iter().eq(from_thread),
            "the pushes of a thread, in its order"
        );
    }
    assert_eq!(seen.len(), THREADS * PUSHES * 2, "nothing else");
    for pair in seen.chunks(2) {
        let first: usize = pair[0].parse().expect("a number");
        assert_eq!(pair[1], (first + 1).to_string(), "a push stands together");
    }
}

/// Two consumers, each sometimes late, and pushes of which every third comes twice.
fn concurrent_consumers_miss_nothing(queue: &impl Queue) {
    const PUSHES: usize = 200;
    let stored = Mutex::new(HashSet::new());
    let unfinished = AtomicUsize::new(1);
    thread::scope(|scope| {
        for limit in [3, 7] {
            let (stored, unfinished) = (&stored, &unfinished);
            scope.spawn(move || {
                let mut late = Batch::default();
                while unfinished.load(Ordering::SeqCst) > 0 || len(queue) > 0 {
                    let batch = peek(queue, limit);
                    store(stored, &batch);
                    ack(queue, &late);
                    ack(queue, &batch);
                    late = batch;
                }
            });
        }
        for number in 0..PUSHES {
            let payloads = numbered(number * 2, 2);
            push(queue, &payloads);
            if number % 3 == 0 {
                push(queue, &payloads);
            }
        }
        unfinished.store(0, Ordering::SeqCst);
    });
    let stored = stored.into_inner().expect("no consumer panicked");
    for number in 0..PUSHES * 2 {
        assert!(
            stored.contains(&number.to_string()),
            "payload {number} was removed and no consumer had seen it"
        );
    }
}

fn store(stored: &Mutex<HashSet<String>>, batch: &Batch) {
    stored
        .lock()
        .expect("no consumer panicked")
        .extend(read(batch));
}

fn push(queue: &impl Queue, payloads: &[Payload]) {
    queue.push(payloads).expect("push");
}

fn peek(queue: &impl Queue, limit: usize) -> Batch {
    queue.peek(limit).expect("peek")
}

fn ack(queue: &impl Queue, batch: &Batch) -> usize {
    queue.ack(batch).expect("ack")
}

fn len(queue: &impl Queue) -> u64 {
    queue.len().expect("len")
}

fn texts<const N: usize>(texts: [&str; N]) -> Vec<Payload> {
    texts
        .map(|text| Payload::from(text.as_bytes().to_vec()))
        .into()
}

fn records() -> Vec<Payload> {
    let record = |action| Record::new(action, AuditContext::default()).encode();
    let records = ["a", "b", "c", "d"].map(|action| record(action).expect("a record"));
    records.into()
}

fn numbered(from: usize, count: usize) -> Vec<Payload> {
    (from..from + count)
        .map(|number| Payload::from(number.to_string().into_bytes()))
        .collect()
}

fn read(batch: &Batch) -> Vec<String> {
    read_all(&batch.payloads)
}

fn read_all(payloads: &[Payload]) -> Vec<String> {
    let text = |payload: &Payload| String::from_utf8_lossy(payload.as_bytes()).into_owned();
    payloads.iter().map(text).collect()
}
