//! The consumer behind a journal and Redis.

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use audit_diesel::{AuditEvent, Auditor, Consumer, Journal, Queue, Record, RedisQueue};
use audit_tests::app::postgres::{App, app};
use audit_tests::{Call, LONG, RedisServer, TestRedis, flush_fails, wait_until};

use crate::on_postgres::ahead::others_take_away;
use crate::on_postgres::helpers::*;

fn consumer(app: &App, auditor: &Auditor) -> Consumer {
    let builder = Consumer::builder(auditor.queue(), app.pool.clone());
    builder.interval(NEVER).spawn().unwrap()
}

fn auditor(redis: RedisQueue, folder: &tempfile::TempDir) -> Auditor {
    let journal = folder.path().join("journal.db");
    Auditor::builder()
        .redis_queue(redis)
        .journal(journal)
        .build()
        .unwrap()
}

fn shared_redis(redis: &TestRedis) -> RedisQueue {
    RedisQueue::builder(redis.url())
        .key(redis.key())
        .owner("tests")
        .io_timeout(LONG)
        .build()
        .unwrap()
}

#[test]
fn a_flush_reaches_through_the_journal() {
    let (app, redis, folder) = (app(), TestRedis::new(), tempfile::tempdir().unwrap());
    let auditor = auditor(shared_redis(&redis), &folder);
    let consumers = [(); 3].map(|()| consumer(&app, &auditor));
    thread::scope(|scope| {
        for writer in 0..4 {
            let (app, auditor, consumers) = (&app, &auditor, &consumers);
            scope.spawn(move || {
                for round in 0..5 {
                    let name = format!("w{writer}.{round}");
                    auditor.record(AuditEvent::new(&*name)).unwrap();
                    consumers[(writer + round) % 3].flush().unwrap();
                    assert!(stored(app).contains(&name), "{name}");
                }
            });
        }
    });
    assert_eq!(stored(&app).len(), 20);
}

#[test]
fn redis_stops_dies_and_comes_back() {
    let (app, folder) = (app(), tempfile::tempdir().unwrap());
    let mut server = RedisServer::start(&["--appendonly", "yes", "--appendfsync", "always"]);
    let redis = RedisQueue::builder(server.url()).build().unwrap();
    let auditor = auditor(redis, &folder);
    let consumer = consumer(&app, &auditor);
    let record = |n: usize| auditor.record(AuditEvent::new(format!("n.{n}"))).unwrap();
    record(0);
    consumer.flush().unwrap();
    for (n, kill) in [(1, false), (2, true)] {
        if kill {
            server.kill9();
        } else {
            server.stop();
        }
        record(n);
        flush_fails(&consumer, "refused");
        server.restart();
        consumer.flush().unwrap();
        assert_eq!(stored(&app), names(n + 1));
    }
    assert_eq!(consumer.stats().quarantined, 0);
}

/// The journal may take larger records than Redis does: one such must not hold up the others.
#[test]
fn a_record_too_large_for_redis_goes_on_without_its_values() {
    let (app, redis, folder) = (app(), TestRedis::new(), tempfile::tempdir().unwrap());
    let journal = Journal::builder(folder.path().join("journal.db"));
    let small = RedisQueue::builder(redis.url()).key(redis.key());
    let auditor = Auditor::builder()
        .redis_queue(small.max_record_bytes(1_000).build().unwrap())
        .journal_queue(journal.open().unwrap())
        .build()
        .unwrap();
    let consumer = consumer(&app, &auditor);
    let mut record = Record::new("n.0", audit_diesel::AuditContext::default());
    record
        .extra
        .insert("text".to_owned(), "x".repeat(5_000).into());
    let unreadable = audit_diesel::Payload::from(vec![b'?'; 5_000]);
    let all = [record.encode().unwrap(), payload("n.1"), unreadable];
    auditor.queue().push(&all).unwrap();
    consumer.flush().unwrap();
    assert_eq!(stored(&app), names(2));
    let held = quarantined(&app);
    assert_eq!(held.len(), 1);
    assert_eq!(held[0].payload, vec![b'?'; 1_000]);
}

#[test]
fn three_consumers_on_one_list() {
    let (app, redis) = (app(), TestRedis::new());
    let queue = Arc::new(shared_redis(&redis));
    let consumers = [(); 3].map(|()| {
        let own = Arc::new(shared_redis(&redis));
        let builder = Consumer::builder(own, app.pool.clone()).batch_size(50);
        builder.interval(Duration::from_millis(1)).spawn().unwrap()
    });
    let all = payloads(2_000);
    for (round, chunk) in all.chunks(100).enumerate() {
        queue.push(chunk).unwrap();
        consumers[round % 3].flush().unwrap();
    }
    assert_eq!(stored(&app), names(2_000));
    // Who has stored and acknowledged counts it a moment later.
    wait_until("all to be counted", LONG, || {
        let stored = consumers.iter().map(|consumer| consumer.stats().stored);
        stored.sum::<u64>() == 2_000
    });
    assert!(queue.is_empty().unwrap());
}

/// A list does not tell by itself what was taken from its head.
#[test]
fn what_others_take_from_a_list_is_not_missed() {
    for moment in [Call::PeekBehind(10), Call::Ack(10)] {
        let redis = TestRedis::new();
        others_take_away(moment, shared_redis(&redis));
    }
}
