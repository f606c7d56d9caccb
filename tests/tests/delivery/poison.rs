//! Records that Redis ends the connection for, and a Redis whose connections end anyway.

use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::thread;
use std::time::Duration;

use audit_diesel::{
    AuditContext, Auditor, AuditorBuilder, Journal, Payload, Queue, Record, RedisQueue,
};
use audit_tests::app::postgres::trail::audit_quarantine;
use audit_tests::wait_until;
use diesel::prelude::*;
use diesel::sql_types::{Binary, Text};

use super::support::*;
use super::unwritable::{hide, until_one_goes_past_it};

/// Takes no argument of more than 1 MiB, and closes the connection on which one comes.
fn narrow() -> Setup {
    Setup::new(&["--proto-max-bulk-len", "1mb"])
}

/// The list, for records of a size that its server does not take.
fn wide(setup: &Setup) -> RedisQueue {
    RedisQueue::builder(setup.server.url())
        .owner(OWNER)
        .max_record_bytes(4 << 20)
        .build()
        .unwrap()
}

fn auditor(setup: &Setup) -> AuditorBuilder {
    Auditor::builder()
        .redis_queue(wide(setup))
        .journal(setup.path())
}

/// A row's values may be that large; what comes with a context may not.
fn large() -> Payload {
    let record = Record::new("large", AuditContext::default());
    let json = String::from_utf8(record.encode().unwrap().as_bytes().to_vec()).unwrap();
    let fields = json.strip_suffix('}').unwrap();
    let text = "x".repeat(2 << 20);
    let json = format!(r#"{fields},"changes":{{"text":{{"new":"{text}"}}}}}}"#);
    Payload::from(json.into_bytes())
}

/// Puts a large record into the journal, among small ones.
fn fill(setup: &Setup, large: &Payload) {
    let journal = Journal::builder(setup.path()).max_record_bytes(4 << 20);
    let journal = journal.open().unwrap();
    let small = |n: usize| Record::new(format!("n.{n}"), AuditContext::default());
    let mut all: Vec<_> = (0..40).map(|n| small(n).encode().unwrap()).collect();
    all.insert(17, large.clone());
    journal.push(&all).unwrap();
}

#[test]
fn one_that_redis_does_not_take_goes_into_quarantine() {
    let setup = narrow();
    let large = large();
    fill(&setup, &large);
    let auditor = auditor(&setup)
        .confirm_in(setup.app.pool.clone())
        .confirm_after(GRACE);
    let auditor = auditor.build().unwrap();
    auditor.queue().settle(LONG).unwrap();
    let consumer = setup.consumer();
    setup.wait_for(40);
    setup.wait_for_an_empty_journal();
    let held: Vec<(Vec<u8>, String)> = audit_quarantine::table
        .select((audit_quarantine::payload, audit_quarantine::reason))
        .load(&mut setup.app.pool.get().unwrap())
        .unwrap();
    assert_eq!(held.len(), 1);
    assert!(held[0].0 == large.as_bytes());
    assert!(held[0].1.contains("its connection ended"), "{}", held[0].1);
    wait_until("all to be counted", LONG, || consumer.stats().stored == 40);
    assert_eq!(auditor.stats().sent_again, 0);
}

#[derive(QueryableByName)]
struct Kept {
    #[diesel(sql_type = Text)]
    reason: String,
    #[diesel(sql_type = Binary)]
    payload: Vec<u8>,
}

/// There is no database to put it into.
#[test]
fn without_a_database_the_journal_keeps_it() {
    let setup = narrow();
    let large = large();
    fill(&setup, &large);
    // Twice: as if the process had ended before it was taken from where it stood.
    for round in 1..=2 {
        let auditor = auditor(&setup).build().unwrap();
        auditor.queue().settle(LONG).unwrap();
        let journal = setup.journal();
        assert!(journal.is_empty().unwrap());
        assert_eq!(journal.bytes().unwrap(), large.as_bytes().len() as u64);
        let path = setup.path();
        let mut file = SqliteConnection::establish(path.to_str().unwrap()).unwrap();
        let sql = "SELECT reason, payload FROM audit_journal_quarantine";
        let kept: Vec<Kept> = diesel::sql_query(sql).load(&mut file).unwrap();
        assert_eq!(kept.len(), 1);
        assert!(kept[0].payload == large.as_bytes());
        assert!(kept[0].reason.contains("its connection ended"));
        let warnings = auditor.warnings();
        let mut said = warnings.iter().map(ToString::to_string);
        assert!(said.any(|w| w.contains("audit_journal_quarantine")));
        if round == 1 {
            let wide = Journal::builder(setup.path()).max_record_bytes(4 << 20);
            wide.open()
                .unwrap()
                .push(std::slice::from_ref(&large))
                .unwrap();
        }
    }
    let _consumer = setup.consumer();
    setup.wait_for(40);
}

/// There is nothing but memory.
#[test]
fn without_a_journal_it_is_dropped_and_counted() {
    let setup = narrow();
    let auditor = Auditor::builder()
        .redis_queue(wide(&setup))
        .without_journal();
    let auditor = auditor.build().unwrap();
    record(&auditor, 0..5);
    auditor.queue().push(&[large()]).unwrap();
    record(&auditor, 5..10);
    auditor.queue().settle(LONG).unwrap();
    assert_eq!(auditor.stats().dropped, 1);
    let _consumer = setup.consumer();
    setup.wait_for(10);
}

/// The journal cannot be written, and what comes after it waits in memory.
#[test]
fn with_a_journal_that_cannot_be_written_it_holds_nothing_up() {
    let setup = narrow();
    let journal = Journal::builder(setup.path()).max_record_bytes(4 << 20);
    let auditor = Auditor::builder()
        .redis_queue(wide(&setup))
        .journal_queue(journal.open().unwrap());
    let auditor = auditor.build().unwrap();
    let unhide = hide(&setup);
    let first = until_one_goes_past_it(&setup, &auditor, 0);
    auditor.queue().push(&[large()]).unwrap();
    record(&auditor, first..first + 10);
    wait_until("it is dropped", LONG, || auditor.stats().dropped == 1);
    unhide();
    let _consumer = setup.consumer();
    setup.wait_for(first + 10);
}

/// Somebody ends all connections again and again.
#[test]
fn connections_that_are_ended_at_random_convict_nobody() {
    let setup = Setup::new(&[]);
    let auditor = auditor(&setup)
        .confirm_in(setup.app.pool.clone())
        .confirm_after(GRACE)
        .build()
        .unwrap();
    let consumer = setup.consumer();
    let (over, mut count) = (AtomicBool::new(false), 0);
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut admin = setup.server.connection();
            let mut kill = redis::cmd("CLIENT");
            kill.arg("KILL").arg("TYPE").arg("normal");
            kill.arg("SKIPME").arg("yes");
            while !over.load(SeqCst) {
                // Hardly anything gets through, and then a little does.
                (0..2_000).for_each(|_| kill.exec(&mut admin).unwrap());
                thread::sleep(Duration::from_millis(2));
            }
        });
        while count < 3_000 {
            record(&auditor, count..count + 10);
            count += 10;
            let _ = auditor.queue().settle(Duration::from_millis(20));
        }
        over.store(true, SeqCst);
    });
    auditor.queue().settle(LONG).unwrap();
    setup.wait_for(count);
    setup.wait_for_an_empty_journal();
    let held: i64 = audit_quarantine::table
        .count()
        .get_result(&mut setup.app.pool.get().unwrap())
        .unwrap();
    assert_eq!(held, 0);
    assert_eq!(consumer.stats().quarantined, 0);
}
