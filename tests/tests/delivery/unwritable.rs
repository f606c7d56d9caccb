//! The journal cannot be written, or is damaged while it is in use: records go to Redis without
//! it, and wait in memory while that is away.

use std::fs;
use std::process::Command;
use std::time::{Duration, Instant};

use audit_diesel::{AuditEvent, Auditor, AuditorBuilder, Journal, Payload, Queue};
use audit_tests::wait_until;
use diesel::connection::SimpleConnection;
use diesel::prelude::*;

use super::support::*;

fn builder(setup: &Setup) -> AuditorBuilder {
    Auditor::builder()
        .redis(setup.server.url())
        .owner(OWNER)
        .journal_queue(setup.journal())
}

/// Takes the journal's file away from those that use it.
pub fn hide(setup: &Setup) -> impl FnOnce() + use<> {
    let (path, hidden) = (setup.path(), setup.folder.path().join("hidden"));
    fs::rename(&path, &hidden).unwrap();
    move || fs::rename(hidden, path).unwrap()
}

/// Makes records from this number on until one goes past the journal, as it is found unwritable.
/// Says where it stopped.
pub fn until_one_goes_past_it(setup: &Setup, auditor: &Auditor, from: usize) -> usize {
    let before = setup.list().len().unwrap();
    let mut next = from;
    wait_until("a record that goes past the journal", LONG, || {
        record(auditor, next..next + 1);
        next += 1;
        setup.list().len().unwrap() > before
    });
    next
}

#[test]
fn records_go_straight_to_redis_meanwhile() {
    let setup = Setup::new(&[]);
    let auditor = Auditor::builder()
        .redis_queue(setup.list())
        .journal_queue(setup.journal())
        .build()
        .unwrap();
    let unhide = hide(&setup);
    let first = until_one_goes_past_it(&setup, &auditor, 0);
    let before = setup.list().len().unwrap();
    for n in 0..50 {
        record(&auditor, first + n..first + n + 1);
        assert_eq!(setup.list().len(), Ok(before + n as u64 + 1));
    }
    unhide();
    let _consumer = setup.consumer();
    let count = first + 100;
    record(&auditor, first + 50..count);
    setup.wait_for(count);
    let stats = auditor.stats();
    assert_eq!(
        (stats.published, stats.failed),
        (count as u64, 0),
        "{stats:?}"
    );
}

/// Who first finds Redis silent waits for it; after that nobody does.
#[test]
fn records_wait_in_memory_while_redis_is_silent_as_well() {
    let setup = Setup::new(&[]);
    let auditor = builder(&setup).build().unwrap();
    let mut count = 0;
    for unhides in [false, true] {
        let unhide = hide(&setup);
        let first = until_one_goes_past_it(&setup, &auditor, count);
        let before = setup.list().len().unwrap();
        count = first + 1_000;
        setup.server.suspend();
        let started = Instant::now();
        record(&auditor, first..count);
        // A time-out for each of them takes four minutes.
        assert!(started.elapsed() < Duration::from_secs(100));
        if unhides {
            // The journal takes what waits in memory, also while Redis stays away.
            unhide();
            wait_until("the journal to hold all", LONG, || {
                setup.journal().len().unwrap() >= 1_000
            });
            setup.server.resume();
        } else {
            setup.server.resume();
            wait_until("Redis to hold all", LONG, || {
                // Some twice: what it got while it was silent, it takes then.
                setup.list().len().is_ok_and(|len| len >= before + 1_000)
            });
            unhide();
        }
        auditor.queue().settle(LONG).unwrap();
    }
    let _consumer = setup.consumer();
    wait_until("all", LONG, || setup.stored().len() >= count);
    let mut stored = setup.stored();
    stored.sort_by_key(|name| name[2..].parse::<usize>().unwrap());
    assert_eq!(stored, names(count));
    assert_eq!(auditor.stats().failed, 0);
}

#[test]
fn that_memory_is_bounded_and_what_does_not_fit_is_counted() {
    let mut setup = Setup::new(&[]);
    let auditor = builder(&setup).buffer_bytes(10_000).build().unwrap();
    let unhide = hide(&setup);
    let first = until_one_goes_past_it(&setup, &auditor, 0);
    setup.server.stop();
    let tried = 500;
    let kept = (first..first + tried)
        .filter(|n| auditor.record(AuditEvent::new(format!("n.{n}"))).is_ok())
        .count();
    assert!(kept > 0 && kept < tried, "{kept}");
    unhide();
    setup.server.restart();
    auditor.queue().settle(LONG).unwrap();
    let _consumer = setup.consumer();
    setup.wait_for_an_empty_journal();
    let arrived = || setup.stored().len();
    wait_until("what was kept", LONG, || arrived() >= first - 1 + kept);
    assert!(arrived() <= first + kept);
}

/// What waited in memory goes into the journal, and has to come on from there.
#[test]
fn a_flush_waits_for_what_was_in_memory_as_well() {
    let mut setup = Setup::new(&[]);
    for round in 1..=5 {
        let journal = Journal::builder(setup.path()).max_bytes(10_000);
        let auditor = Auditor::builder()
            .redis_queue(setup.list())
            .journal_queue(journal.open().unwrap())
            .build()
            .unwrap();
        setup.server.stop();
        // More than the journal takes, and no more than it takes twice.
        record(&auditor, 0..80);
        assert_eq!(auditor.stats().failed, 0);
        setup.server.restart();
        auditor.queue().settle(LONG).unwrap();
        // Redis keeps nothing when it is stopped.
        assert_eq!(setup.list().len(), Ok(80), "{round}");
    }
}

/// Writes zeros over all pages but the first, as a disk that fails does.
fn damage(setup: &Setup) {
    let path = setup.path();
    let mut file = SqliteConnection::establish(path.to_str().unwrap()).unwrap();
    file.batch_execute("PRAGMA busy_timeout = 60000; PRAGMA wal_checkpoint(TRUNCATE)")
        .unwrap();
    let pages = fs::metadata(&path).unwrap().len() / 4096;
    // In another process: SQLite's locks would go if this one closed the file.
    let zeros = Command::new("dd")
        .args(["if=/dev/zero", "bs=4096", "seek=1", "conv=notrunc"])
        .arg(format!("of={}", path.display()))
        .arg(format!("count={}", pages - 1))
        .output();
    assert!(zeros.unwrap().status.success());
}

#[test]
fn a_journal_that_is_damaged_in_use_takes_no_more_and_is_set_aside_at_the_next_start() {
    let mut setup = Setup::new(&[]);
    let journal = setup.journal();
    let builder = Auditor::builder().redis(setup.server.url()).owner(OWNER);
    let auditor = builder.journal_queue(journal.clone()).build().unwrap();
    setup.server.stop();
    for n in 0..200 {
        auditor
            .record(AuditEvent::new(format!("before.{n}")))
            .unwrap();
    }
    // That they are in the tables, and not beside them.
    assert_eq!(journal.len(), Ok(200));
    damage(&setup);
    let damaged = || {
        let warnings = journal.warnings().unwrap();
        warnings.iter().any(|w| w.problem.contains("while in use"))
    };
    wait_until("the damage to be noticed", LONG, || {
        auditor.record(AuditEvent::new("unnoticed")).unwrap();
        damaged()
    });
    // Nobody's operation fails: these wait in memory, until Redis is back.
    record(&auditor, 0..100);
    assert_eq!(auditor.stats().failed, 0);
    journal.push(&[Payload::from(b"?".to_vec())]).unwrap_err();
    setup.server.restart();
    let arrived = || {
        let mut arrived = setup.stored();
        arrived.retain(|name| name.starts_with("n."));
        arrived
    };
    let consumer = setup.consumer();
    wait_until("what was made since", LONG, || arrived().len() >= 100);
    record(&auditor, 100..200);
    wait_until("what was made then", LONG, || arrived().len() >= 200);
    assert_eq!(arrived(), names(200));
    drop((auditor, journal));
    let journal = setup.journal();
    let warnings = journal.warnings().unwrap();
    let aside = warnings
        .iter()
        .filter(|w| w.problem.contains("set aside as"));
    assert_eq!(aside.count(), 1, "{warnings:?}");
    journal.push(&[Payload::from(b"new".to_vec())]).unwrap();
    assert_eq!(consumer.stats().quarantined, 0);
}
