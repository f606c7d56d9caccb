//! The process is killed: before the journal's write, after it, during COMMIT, before the note of
//! it, and anywhere.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use audit_diesel::{Auditor, Consumer};
use audit_tests::{pg_pool, wait_until};
use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use diesel::result::Error;

use super::setup::{
    Conn, HANG_IN_COMMIT, LONG, Setup, builder, emails, holds, insert, quarantined, recorded,
};

const ROLE: &str = "AUDIT_TEST_PREPARED_ROLE";
const DATABASE: &str = "AUDIT_TEST_PREPARED_DATABASE";
const JOURNAL: &str = "AUDIT_TEST_PREPARED_JOURNAL";

/// This test binary again, with a part to play.
fn start(setup: &Setup, role: &str) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args([
            "prepared::crashes::child",
            "--exact",
            "--ignored",
            "--nocapture",
        ])
        .env(ROLE, role)
        .env(DATABASE, setup.app.guard.url())
        .env(JOURNAL, setup.journal_path())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

/// Waits until the child has its connections.
fn wait_for(child: &mut Child) {
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut lines = lines.map_while(Result::ok);
    assert!(lines.any(|line| line.contains("ready")), "it did not start");
}

fn kill(mut child: Child) {
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
#[ignore = "it is the process that the other tests kill"]
fn child() {
    let Ok(role) = std::env::var(ROLE) else {
        return;
    };
    let (url, journal) = (std::env::var(DATABASE), std::env::var_os(JOURNAL));
    let (url, journal) = (url.unwrap(), PathBuf::from(journal.unwrap()));
    let auditor = builder(&url, &journal).build().unwrap();
    let connect = || {
        let mut conn = Conn::establish(&url).unwrap();
        auditor.attach(&mut conn);
        conn
    };
    if let Some(email) = role.strip_prefix("insert ") {
        let mut conn = connect();
        println!("ready");
        insert(&mut conn, email).unwrap();
        return;
    }
    let connections: Vec<Conn> = (0..3).map(|_| connect()).collect();
    println!("ready");
    thread::scope(|threads| {
        for (number, mut conn) in connections.into_iter().enumerate() {
            let role = &role;
            threads.spawn(move || {
                (0..).for_each(|n| write(&mut conn, &format!("{role}.{number}.{n}")))
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
    let mut child = start(&setup, "insert ada");
    wait_for(&mut child);
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
    kill(child);
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
        let child = start(&setup, "insert ada");
        wait_until("it waits in COMMIT", LONG, || {
            holds(
                admin,
                "EXISTS (SELECT FROM pg_stat_activity WHERE query = 'COMMIT' AND wait_event = 'advisory'
                 AND datname = current_database())",
            )
        });
        assert_eq!(setup.prepared(), 1);
        kill(child);
        // Another process looks, and the transaction is in progress.
        let auditor = setup.auditor();
        thread::sleep(Duration::from_millis(600));
        assert_eq!(setup.prepared(), 1, "it is not stolen");
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
    let child = start(&setup, "insert ada");
    wait_until("it is written down", LONG, || setup.prepared() == 1);
    let lock = setup.lock_journal();
    drop(holder);
    wait_until("it is committed", LONG, || emails(admin) == ["ada"]);
    kill(child);
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
    assert!(
        start(&setup, "insert of the child")
            .wait()
            .unwrap()
            .success()
    );
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
        let mut child = start(&setup, &crash.to_string());
        wait_for(&mut child);
        // Any moment of the first of the transactions, and sometimes later.
        thread::sleep(Duration::from_micros((crash as u64 * 7_919) % 60_000));
        kill(child);
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
