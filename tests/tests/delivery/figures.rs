//! How long things take. Run with `--release -- --ignored --nocapture figures`.

use std::thread;
use std::time::{Duration, Instant};

use audit_diesel::{AuditEvent, Auditor, Consumer, Payload, Queue, Record};
use audit_tests::wait_until;
use diesel::prelude::*;

use super::support::*;

const BACKLOG: usize = 100_000;

fn rows(setup: &Setup) -> usize {
    let conn = &mut setup.app.pool.get().unwrap();
    let count = audit_diesel::postgres::audit_logs::table.count();
    count.get_result::<i64>(conn).unwrap() as usize
}

#[test]
#[ignore = "a measurement"]
fn from_redis_is_back_to_queue_empty() {
    for confirmed in [false, true] {
        let mut setup = Setup::new(&["--appendonly", "yes"]);
        let builder = Auditor::builder()
            .redis(setup.server.url())
            .owner(OWNER)
            .journal(setup.path());
        let auditor = match confirmed {
            true => builder.confirm_in(setup.app.pool.clone()),
            false => builder,
        };
        let auditor = auditor.build().unwrap();
        let consumer = Consumer::builder(auditor.queue(), setup.app.pool.clone())
            .interval(Duration::from_secs(1))
            .spawn()
            .unwrap();
        setup.server.stop();
        let started = Instant::now();
        for chunk in 0..BACKLOG / 100 {
            let record = |n| Record::new(format!("n.{n}"), Default::default());
            let records = (chunk * 100..chunk * 100 + 100).map(|n| record(n).encode().unwrap());
            let records: Vec<Payload> = records.collect();
            auditor.queue().push(&records).unwrap();
        }
        let journaled = started.elapsed();
        // Long enough for the longest back-off.
        thread::sleep(Duration::from_secs(15));
        setup.server.restart();
        let back = Instant::now();
        wait_until("all rows", Duration::from_secs(300), || {
            thread::sleep(Duration::from_millis(20));
            rows(&setup) == BACKLOG && setup.list().is_empty() == Ok(true)
        });
        let stored = back.elapsed();
        let journal = setup.journal();
        wait_until("an empty journal", Duration::from_secs(300), || {
            journal.is_empty().unwrap()
        });
        println!(
            "confirm_in: {confirmed}; {BACKLOG} records journaled in {journaled:.2?}; Redis back to \
             all stored and the list empty {stored:.2?}, to the journal empty {:.2?}; \
             duplicates {}",
            back.elapsed(),
            consumer.stats().duplicates
        );
    }
}

#[test]
#[ignore = "a measurement"]
fn from_stop_under_load_to_clean_exit() {
    for journal in [true, false] {
        let setup = Setup::new(&["--appendonly", "yes"]);
        let builder = Auditor::builder().redis(setup.server.url()).owner(OWNER);
        let auditor = match journal {
            true => builder
                .journal(setup.path())
                .confirm_in(setup.app.pool.clone()),
            false => builder.without_journal(),
        };
        let auditor = auditor.build().unwrap();
        let consumer = Consumer::builder(auditor.queue(), setup.app.pool.clone())
            .interval(Duration::from_millis(100))
            .spawn()
            .unwrap();
        let until = Instant::now() + Duration::from_secs(3);
        let made = thread::scope(|scope| {
            let write = || {
                let calls = (0..).take_while(|_| Instant::now() < until);
                calls
                    .map(|n| auditor.record(AuditEvent::new(format!("n.{n}"))).unwrap())
                    .count()
            };
            let writers = [(); 4].map(|()| scope.spawn(write));
            writers
                .into_iter()
                .map(|w| w.join().unwrap())
                .sum::<usize>()
        });
        let asked = Instant::now();
        consumer.stop().unwrap();
        let stopped = asked.elapsed();
        drop(consumer);
        drop(auditor);
        println!(
            "journal: {journal}; {made} records in 3 s; the consumer stopped after {stopped:.2?}, \
             all dropped after {:.2?}",
            asked.elapsed()
        );
    }
}
