//! A consumer in the SQLite file that the application writes to, set up as the README does: no write
//! of the application's fails for it, and it stores in time.

use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::thread;
use std::time::{Duration, Instant};

use audit_diesel::{Auditor, Consumer, MemoryQueue, Queue, audited, sqlite as trail};
use audit_tests::LONG;
use audit_tests::app::{NewAccount, accounts};
use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use diesel::r2d2::{ConnectionManager, Pool};
use diesel_migrations::MigrationHarness;

type SqlitePool = Pool<ConnectionManager<SqliteConnection>>;

const ACCOUNTS: &str = "CREATE TABLE accounts (
     id integer NOT NULL PRIMARY KEY AUTOINCREMENT, email text NOT NULL,
     role text NOT NULL DEFAULT 'member', balance bigint NOT NULL DEFAULT 0, note text,
     api_token text NOT NULL DEFAULT '', updated_at timestamp NOT NULL DEFAULT '2026-01-01 00:00:00')";

const INTERVAL: Duration = Duration::from_secs(1);

/// One round of what a writer does, and how its own account is written.
type Round = fn(&mut SqliteConnection, i32) -> QueryResult<()>;

fn plain(conn: &mut SqliteConnection, id: i32) -> QueryResult<()> {
    use diesel::dsl::update;
    let add = || accounts::balance.eq(accounts::balance + 1);
    update(accounts::table.find(id)).set(add()).execute(conn)?;
    conn.transaction(|conn| {
        update(accounts::table.find(id)).set(add()).execute(conn)?;
        update(accounts::table.find(id)).set(add()).execute(conn)
    })?;
    conn.transaction(|conn| {
        let balance: i64 = accounts::table
            .find(id)
            .select(accounts::balance)
            .first(conn)?;
        let set = accounts::balance.eq(balance + 1);
        update(accounts::table.find(id)).set(set).execute(conn)
    })?;
    Ok(())
}

fn recorded(conn: &mut SqliteConnection, id: i32) -> QueryResult<()> {
    use audited::update;
    let add = || accounts::balance.eq(accounts::balance + 1);
    update(accounts::table.find(id)).set(add()).execute(conn)?;
    conn.transaction(|conn| {
        update(accounts::table.find(id)).set(add()).execute(conn)?;
        update(accounts::table.find(id)).set(add()).execute(conn)
    })?;
    conn.transaction(|conn| {
        let balance: i64 = accounts::table
            .find(id)
            .select(accounts::balance)
            .first(conn)?;
        let set = accounts::balance.eq(balance + 1);
        update(accounts::table.find(id)).set(set).execute(conn)
    })?;
    Ok(())
}

/// What came of some writers that never pause.
#[derive(Debug, Default)]
struct Outcome {
    rounds: u32,
    failed: u32,
    error: Option<String>,
}

fn write(pool: &SqlitePool, writers: usize, round: Round, lasts: Duration) -> Outcome {
    let mut conn = pool.get().unwrap();
    let ids: Vec<i32> = (0..writers)
        .map(|_| {
            diesel::insert_into(accounts::table)
                .values(NewAccount::new("a@example.com"))
                .returning(accounts::id)
                .get_result(&mut conn)
                .unwrap()
        })
        .collect();
    // Pools have ten connections unless said otherwise.
    drop(conn);
    let (outcome, end) = (Mutex::new(Outcome::default()), Instant::now() + lasts);
    thread::scope(|scope| {
        for id in ids {
            let outcome = &outcome;
            scope.spawn(move || {
                let conn = &mut pool.get().unwrap();
                while Instant::now() < end {
                    let result = round(conn, id);
                    let mut outcome = outcome.lock().unwrap();
                    outcome.rounds += 1;
                    if let Err(error) = result {
                        outcome.failed += 1;
                        outcome.error = Some(error.to_string());
                    }
                }
            });
        }
    });
    outcome.into_inner().unwrap()
}

/// The README's own lines.
fn pool_at(path: &Path, auditor: Option<&Auditor>) -> SqlitePool {
    let manager = ConnectionManager::new(path.display().to_string());
    match auditor {
        Some(auditor) => Pool::builder()
            .connection_customizer(auditor.customizer())
            .build(manager)
            .unwrap(),
        None => Pool::builder().build(manager).unwrap(),
    }
}

/// Plain Diesel, and the same with a trail and a consumer, in files of their own.
fn compared(writers: usize, journal_mode: &str) -> (Outcome, Outcome) {
    let folder = tempfile::tempdir().unwrap();
    let mode = format!("PRAGMA journal_mode = {journal_mode}");
    let without = pool_at(&folder.path().join("plain.db"), None);
    without.get().unwrap().batch_execute(&mode).unwrap();
    without.get().unwrap().batch_execute(ACCOUNTS).unwrap();
    let plain = write(&without, writers, plain, Duration::from_secs(1));

    let queue = MemoryQueue::new();
    let auditor = Auditor::builder().queue(queue.clone()).build().unwrap();
    let pool = pool_at(&folder.path().join("app.db"), Some(&auditor));
    let mut conn = pool.get().unwrap();
    conn.batch_execute(&mode).unwrap();
    conn.batch_execute(ACCOUNTS).unwrap();
    conn.run_pending_migrations(trail::MIGRATIONS).unwrap();
    drop(conn);
    let consumer = Consumer::builder(auditor.queue(), pool.clone()).interval(INTERVAL);
    let consumer = consumer.spawn().unwrap();
    let ended = AtomicBool::new(false);
    let (recorded, longest) = thread::scope(|scope| {
        let longest = scope.spawn(|| longest_wait(&queue, &consumer, &ended));
        let recorded = write(&pool, writers, recorded, 5 * INTERVAL);
        ended.store(true, SeqCst);
        (recorded, longest.join().unwrap())
    });
    println!(
        "{writers} {journal_mode}: {plain:?} {recorded:?} {longest:?} {:?}",
        consumer.stats()
    );
    assert!(longest < INTERVAL + SLACK, "nothing stored for {longest:?}");
    consumer.flush_within(LONG).unwrap();
    let conn = &mut pool.get().unwrap();
    let rows: i64 = trail::audit_logs::table.count().get_result(conn).unwrap();
    let balances: Vec<i64> = accounts::table
        .select(accounts::balance)
        .load(conn)
        .unwrap();
    // Inserts are plain here, and each update adds one.
    assert_eq!(rows, balances.iter().sum::<i64>());
    (plain, recorded)
}

/// What a loaded machine with a slow disk may take in addition.
const SLACK: Duration = Duration::from_secs(2);

/// The longest that records waited and none was stored.
fn longest_wait(queue: &MemoryQueue, consumer: &Consumer, ended: &AtomicBool) -> Duration {
    let (mut longest, mut since, mut stored) = (Duration::ZERO, Instant::now(), 0);
    while !ended.load(SeqCst) {
        let now = consumer.stats().stored;
        if now != stored || queue.is_empty().unwrap() {
            (since, stored) = (Instant::now(), now);
        }
        longest = longest.max(since.elapsed());
        thread::sleep(Duration::from_millis(5));
    }
    longest
}

#[test]
fn a_consumer_fails_no_write_of_a_single_writer() {
    for mode in ["DELETE", "WAL"] {
        let (plain, recorded) = compared(1, mode);
        assert_eq!(plain.failed, 0, "{plain:?}");
        assert_eq!(recorded.failed, 0, "{recorded:?}");
    }
}

#[test]
fn a_consumer_fails_no_write_that_plain_diesel_does_not_fail() {
    for writers in [2, 8] {
        for mode in ["DELETE", "WAL"] {
            let (plain, recorded) = compared(writers, mode);
            let rate = |it: &Outcome| f64::from(it.failed) / f64::from(it.rounds);
            assert!(rate(&recorded) <= rate(&plain), "{plain:?} {recorded:?}");
        }
    }
}
