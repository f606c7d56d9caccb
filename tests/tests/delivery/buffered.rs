//! Redis without a journal: straight pushes, and memory while it is away.

use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use audit_diesel::{
    AuditEvent, Auditor, AuditorBuilder, Journal, Queue, Record, RedisQueue, SigningKey,
};
use tracing::span::{Attributes, Id};
use tracing::{Event, Metadata, Subscriber};

use super::support::*;

fn direct(setup: &Setup) -> AuditorBuilder {
    Auditor::builder()
        .redis_queue(setup.list())
        .without_journal()
}

#[test]
fn a_record_is_in_redis_when_the_call_returns() {
    let setup = Setup::new(&[]);
    let auditor = direct(&setup).build().unwrap();
    for n in 0..20 {
        record(&auditor, n..n + 1);
        assert_eq!(listed(&setup), names(n + 1));
    }
}

/// The actions of the records in Redis, in their order. A push is made again for a process that was
/// suspended in it.
fn listed(setup: &Setup) -> Vec<String> {
    let batch = setup.list().peek(1_000).unwrap();
    let actions = batch.payloads.iter().map(|payload| {
        let record = Record::decode(payload.as_bytes()).unwrap();
        record.action
    });
    let mut actions: Vec<_> = actions.collect();
    actions.dedup();
    actions
}

#[test]
fn what_is_made_while_redis_is_away_arrives_in_order_when_it_is_back() {
    let mut setup = Setup::new(&["--appendonly", "yes", "--appendfsync", "always"]);
    let auditor = direct(&setup).build().unwrap();
    record(&auditor, 0..10);
    for round in 0..3 {
        setup.server.kill9();
        record(&auditor, round * 100 + 10..round * 100 + 100);
        setup.server.restart();
        record(&auditor, round * 100 + 100..round * 100 + 110);
        auditor.queue().settle(LONG).unwrap();
    }
    assert_eq!(listed(&setup), names(310));
    let stats = auditor.stats();
    assert_eq!((stats.published, stats.failed), (310, 0));
    // And it goes straight on again.
    record(&auditor, 310..311);
    assert_eq!(setup.list().len(), Ok(311));
}

/// The longest that a call of so many threads takes.
fn longest_stall(auditor: &Auditor, threads: usize) -> Duration {
    let slowest = |_| {
        let calls = (0..200).map(|_| {
            let started = Instant::now();
            auditor.record(AuditEvent::new("silent")).unwrap();
            started.elapsed()
        });
        calls.max().unwrap()
    };
    thread::scope(|scope| {
        let threads: Vec<_> = (0..threads)
            .map(|n| scope.spawn(move || slowest(n)))
            .collect();
        let stalls = threads.into_iter().map(|thread| thread.join().unwrap());
        stalls.max().unwrap()
    })
}

/// The longest stalls while Redis accepts everything and answers nothing, without a journal and
/// with one.
fn stalls_of_a_silent_redis() -> [Duration; 2] {
    let setup = Setup::impatient(&[]);
    // Sixteen threads may wait long for their turn on a busy machine.
    let journal = Journal::builder(setup.path()).busy_timeout(LONG);
    let with_journal = Auditor::builder()
        .redis_queue(setup.list())
        .journal_queue(journal.open().unwrap())
        .build()
        .unwrap();
    // With the time-outs that are usual.
    let without = Auditor::builder().redis(setup.server.url()).owner(OWNER);
    let without = without.without_journal().build().unwrap();
    record(&with_journal, 0..100);
    record(&without, 100..200);
    setup.server.suspend();
    let stalls = [&without, &with_journal].map(|auditor| longest_stall(auditor, 16));
    assert_eq!(without.stats().failed, 0);
    setup.server.resume();
    without.queue().settle(LONG).unwrap();
    with_journal.queue().settle(LONG).unwrap();
    assert!(list(&setup.server.url(), LONG).len().unwrap() >= 6_600);
    stalls
}

#[test]
fn a_silent_redis_stalls_each_caller_once_and_shortly() {
    // A machine that is busy stalls callers as well, and does not do so each time.
    let short = (0..10).map(|_| stalls_of_a_silent_redis()).find(|stalls| {
        println!("longest stall while Redis is silent, without a journal and with one: {stalls:?}");
        stalls.iter().all(|stall| *stall < Duration::from_secs(1))
    });
    assert!(short.is_some());
}

#[test]
fn memory_is_bounded_and_what_does_not_fit_is_counted() {
    let mut setup = Setup::new(&[]);
    let auditor = direct(&setup).buffer_bytes(10_000).build().unwrap();
    setup.server.stop();
    let tried = 500;
    let refused = (0..tried)
        .filter(|n| {
            let event = AuditEvent::new(format!("n.{n}"));
            auditor.record(event).is_err_and(|error| {
                assert!(error.to_string().contains("memory"), "{error}");
                true
            })
        })
        .count();
    assert!(refused > 0 && refused < tried, "{refused}");
    setup.server.restart();
    auditor.queue().settle(LONG).unwrap();
    assert_eq!(setup.list().len(), Ok((tried - refused) as u64));
    record(&auditor, 0..1);
}

#[test]
fn dropping_it_while_redis_is_away_ends() {
    let mut setup = Setup::new(&[]);
    let auditor = direct(&setup).build().unwrap();
    setup.server.stop();
    record(&auditor, 0..10);
    let started = Instant::now();
    drop(auditor);
    let took = started.elapsed();
    assert!(took < LONG / 2, "{took:?}");
}

#[test]
fn dropping_it_delivers_what_waits() {
    let mut setup = Setup::new(&[]);
    // It does not wait long for the last records, and a busy machine may need longer.
    let delivered = (0..20).any(|_| {
        setup.server.stop();
        let auditor = direct(&setup).build().unwrap();
        record(&auditor, 0..10);
        setup.server.restart();
        drop(auditor);
        setup.list().len() == Ok(10)
    });
    assert!(delivered);
}

#[test]
fn a_key_of_another_type_is_waited_for() {
    let setup = Setup::new(&[]);
    setup.redis("SET audit:queue something");
    let auditor = direct(&setup).build().unwrap();
    record(&auditor, 0..5);
    setup.redis("DEL audit:queue");
    auditor.queue().settle(LONG).unwrap();
    assert_eq!(setup.list().len(), Ok(5));
}

/// It is recorded as what the queue takes, alone or signed, and opens nothing.
#[test]
fn an_event_is_never_refused_because_it_is_large() {
    let setup = Setup::new(&[]);
    let small = RedisQueue::builder(setup.server.url())
        .owner(OWNER)
        .max_record_bytes(1_000);
    let small = small.build().unwrap();
    let key = SigningKey::new("k1", [7; 32]).unwrap();
    let builder = || {
        let builder = Auditor::builder().redis_queue(small.clone());
        builder.without_journal()
    };
    let auditors = [
        builder(),
        builder().sign_with(key),
        builder().max_record_bytes(900),
    ]
    .map(|builder| builder.build().unwrap());
    let mut made = 0;
    for auditor in &auditors {
        for bytes in [0, 400, 700, 900, 1_000, 5_000, 300_000] {
            let event = AuditEvent::new(format!("n.{made}")).with("text", "x".repeat(bytes));
            auditor.record(event).unwrap();
            made += 1;
        }
        assert_eq!(auditor.stats().failed, 0);
        assert_eq!(auditor.stats().memory.unwrap().records, 0);
    }
    assert_eq!(listed(&setup), names(made));
}

/// A record may be as large as the auditor allows, also while Redis is away.
#[test]
fn large_records_wait_in_memory_as_well() {
    let mut setup = Setup::new(&[]);
    let large = RedisQueue::builder(setup.server.url())
        .owner(OWNER)
        .io_timeout(LONG)
        .max_record_bytes(32 << 20);
    let auditor = Auditor::builder()
        .redis_queue(large.build().unwrap())
        .without_journal()
        .max_record_bytes(32 << 20)
        .build()
        .unwrap();
    setup.server.stop();
    let large = AuditEvent::new("n.0").with("text", "x".repeat(17 << 20));
    auditor.record(large).unwrap();
    setup.server.restart();
    auditor.queue().settle(LONG).unwrap();
    assert_eq!(setup.list().len(), Ok(1));
}

#[test]
fn a_record_without_a_bound_is_fine() {
    let setup = Setup::new(&[]);
    let auditor = Auditor::builder()
        .redis(setup.server.url())
        .owner(OWNER)
        .journal(setup.path())
        .max_record_bytes(usize::MAX)
        .build()
        .unwrap();
    record(&auditor, 0..1);
    auditor.queue().settle(LONG).unwrap();
    assert!(setup.list().len().unwrap() >= 1);
}

/// What makes an audit record of each message about the memory.
struct Recording(Auditor);

impl Subscriber for Recording {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().ends_with("buffered")
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &tracing::span::Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, _: &Event<'_>) {
        self.0.record(AuditEvent::new("said")).unwrap();
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

#[test]
fn who_records_what_is_logged_is_not_held_up() {
    let mut setup = Setup::new(&[]);
    let auditor = direct(&setup).build().unwrap();
    setup.server.stop();
    let (done, ended) = mpsc::channel();
    let recorder = auditor.clone();
    thread::spawn(move || {
        tracing::subscriber::with_default(Recording(recorder.clone()), || record(&recorder, 0..1));
        done.send(()).unwrap();
    });
    ended.recv_timeout(LONG).unwrap();
    setup.server.restart();
    auditor.queue().settle(LONG).unwrap();
    assert!(listed(&setup).contains(&"said".to_owned()));
}
