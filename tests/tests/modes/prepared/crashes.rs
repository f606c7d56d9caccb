//! The process is killed: before the journal's write, after it, during COMMIT, before the note of
//! it, and anywhere.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use audit_diesel::{Auditor, Consumer};
use audit_tests::{pg_pool, wait_until};
use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use diesel::result::Error;

use super::process::{Part, Process};
use super::setup::{
    Conn, HANG_IN_COMMIT, LONG, Setup, emails, holds, insert, quarantined, recorded,
};

/// Writes until it is killed.
pub(super) fn write_on(connections: Vec<Conn>, name: &str) {
    thread::scope(|threads| {
        for (number, mut conn) in connections.into_iter().enumerate() {
            threads.spawn(move || {
                for n in 0_u64.. {
                    write(&mut conn, &format!("{name}.{number}.{n}"));
                }
            });
        }
    });
}

/// Commits, rolls back, rolls back to savepoints, and swallows errors.
fn write(conn: &mut Conn, name: &str) {
    insert(conn, &format!("{name} alone")).unwrap();
    conn.transaction::<_, Error, _>(|conn| {
        insert(conn, &format!("{name} first"))?;
        let _ = conn.transaction(|conn| {
            insert(conn, &format!("{name} undone"))?;
            Err::<(), _>(Error::RollbackTransaction)
        });
        insert(conn, &format!("{name} second"))
    })
    .unwrap();
    let _ = conn.transaction::<_, Error, _>(|conn| {
        insert(conn, &format!("{name} swallowed"))?;
        insert(conn, &format!("{name} alone")).unwrap_err();
        Ok(())
    });
    let _ = conn.transaction(|conn| {
        insert(conn, &format!("{name} rolled back"))?;
        Err::<(), _>(Error::RollbackTransaction)
    });
}

const AUDITED_INSERT: &str = "query LIKE 'INSERT INTO \"accounts\"%'";

#[test]
fn before_the_journals_write() {
    let setup = Setup::new();
    let admin = &mut setup.app.guard.connection();
    let mut holder = setup.app.guard.connection();
    holder
        .batch_execute("BEGIN; LOCK TABLE accounts IN ACCESS EXCLUSIVE MODE")
        .unwrap();
    let mut child = Process::start(&setup, &Part::Insert("ada".to_owned()));
    child.ready();
    wait_until("the insert waits", LONG, || {
        let waits = format!(
            "EXISTS (SELECT FROM pg_stat_activity WHERE {AUDITED_INSERT}
             AND wait_event_type = 'Lock' AND datname = current_database())"
        );
        holds(admin, &waits)
    });
    let lock = setup.lock_journal();
    holder.batch_execute("ROLLBACK").unwrap();
    wait_until("the row is written", LONG, || {
        let waits = format!(
            "EXISTS (SELECT FROM pg_stat_activity WHERE {AUDITED_INSERT}
             AND state = 'idle in transaction' AND datname = current_database())"
        );
        holds(admin, &waits)
    });
    child.kill();
    drop(lock);
    setup.assert_trail(&setup.auditor(), &[]);
}

/// PostgreSQL goes on with a COMMIT whose client is gone.
#[test]
fn after_it_and_during_commit() {
    for commits in [true, false] {
        let setup = Setup::new();
        let admin = &mut setup.app.guard.connection();
        admin.batch_execute(HANG_IN_COMMIT).unwrap();
        let mut holder = setup.app.guard.connection();
        holder.batch_execute("SELECT pg_advisory_lock(1)").unwrap();
        let child = Process::start(&setup, &Part::Insert("ada".to_owned()));
        wait_until("it waits in COMMIT", LONG, || {
            holds(
                admin,
                "EXISTS (SELECT FROM pg_stat_activity WHERE query = 'COMMIT' AND wait_event = 'advisory'
                 AND datname = current_database())",
            )
        });
        assert_eq!(setup.prepared(), 1);
        child.kill();
        setup.leave_rolled_back("marker");
        // Another process looks, and the transaction is in progress.
        let auditor = setup.auditor();
        wait_until("it has looked", LONG, || setup.prepared() == 1);
        assert_eq!(setup.prepared_for("marker"), 0, "it is not stolen");
        if commits {
            drop(holder);
            setup.assert_trail(&auditor, &["ada"]);
        } else {
            admin
                .batch_execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                     WHERE query = 'COMMIT' AND datname = current_database()",
                )
                .unwrap();
            setup.assert_trail(&auditor, &[]);
        }
    }
}

#[test]
fn after_commit_and_before_the_note() {
    let setup = Setup::new();
    drop(setup.auditor());
    let admin = &mut setup.app.guard.connection();
    admin.batch_execute(HANG_IN_COMMIT).unwrap();
    let mut holder = setup.app.guard.connection();
    holder.batch_execute("SELECT pg_advisory_lock(1)").unwrap();
    let child = Process::start(&setup, &Part::Insert("ada".to_owned()));
    wait_until("it is written down", LONG, || setup.prepared() == 1);
    let lock = setup.lock_journal();
    drop(holder);
    wait_until("it is committed", LONG, || emails(admin) == ["ada"]);
    child.kill();
    drop(lock);
    assert_eq!(setup.prepared(), 1);
    setup.assert_trail(&setup.auditor(), &["ada"]);
}

/// Two processes with one journal, and each settles what the other left.
#[test]
fn the_other_process_settles_it() {
    let setup = Setup::new();
    let other = setup.auditor();
    let mut conn = setup.connection(&other);
    conn.batch_execute("BEGIN").unwrap();
    insert(&mut conn, "of the other").unwrap();
    assert!(Process::start(&setup, &Part::Insert("of the child".to_owned())).has_ended_well());
    assert_eq!(setup.prepared(), 1, "what runs is let alone");
    conn.batch_execute("COMMIT").unwrap();
    setup.assert_trail(&other, &["of the other", "of the child"]);
}

/// How many crashes the loop makes; the published figure is of 1,000.
fn crashes() -> usize {
    let number = std::env::var("AUDIT_TEST_CRASHES").ok();
    number.and_then(|n| n.parse().ok()).unwrap_or(100)
}

#[test]
fn killed_anywhere() {
    let setup = Setup::new();
    let auditor: Auditor = setup.auditor();
    let pool = pg_pool(&setup.app.guard.url());
    let consumer = Consumer::builder(Arc::clone(&auditor.queue()), pool)
        .interval(Duration::from_millis(50))
        .spawn()
        .unwrap();
    let started = Instant::now();
    let mut left = 0;
    for crash in 0..crashes() {
        let mut child = Process::start(&setup, &Part::Write(crash.to_string()));
        child.ready();
        // Any moment of the first of the transactions, and sometimes later.
        thread::sleep(Duration::from_micros((crash as u64 * 7_919) % 60_000));
        child.kill();
        left += setup.prepared();
    }
    let took = started.elapsed();
    let admin = &mut setup.app.guard.connection();
    wait_until("the backends have noticed", LONG, || {
        holds(
            admin,
            "NOT EXISTS (SELECT FROM pg_stat_activity WHERE datname = current_database()
             AND state LIKE 'idle in transaction%')",
        )
    });
    setup.wait_until_settled();
    consumer.flush_within(Duration::from_secs(120)).unwrap();
    let (kept, recorded) = (emails(admin), recorded(admin));
    let kept: BTreeSet<_> = kept.into_iter().collect();
    let recorded: BTreeSet<_> = recorded.into_iter().collect();
    let lost: Vec<_> = kept.difference(&recorded).collect();
    let phantoms: Vec<_> = recorded.difference(&kept).collect();
    println!(
        "{} crashes in {took:?}: {} rows, {left} records left in the journal at a crash, \
         {} lost, {} phantoms",
        crashes(),
        kept.len(),
        lost.len(),
        phantoms.len()
    );
    assert_eq!(lost, [""; 0]);
    assert_eq!(phantoms, [""; 0]);
    assert_eq!(quarantined(admin), [""; 0]);
    assert!(left > 0, "no crash was in time");
}
