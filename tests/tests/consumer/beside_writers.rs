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
use diesel::r2d2::{self, ConnectionManager, CustomizeConnection, Pool};
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

fn plain_writes(conn: &mut SqliteConnection, id: i32) -> QueryResult<()> {
    use diesel::dsl::{insert_into, update};
    let add = || accounts::balance.eq(accounts::balance + 1);
    update(accounts::table.find(id)).set(add()).execute(conn)?;
    conn.transaction(|conn| {
        let row = NewAccount::new("b@example.com");
        insert_into(accounts::table).values(row).execute(conn)?;
        update(accounts::table.find(id)).set(add()).execute(conn)
    })?;
    Ok(())
}

fn recorded_writes(conn: &mut SqliteConnection, id: i32) -> QueryResult<()> {
    use audited::{insert_into, update};
    let add = || accounts::balance.eq(accounts::balance + 1);
    update(accounts::table.find(id)).set(add()).execute(conn)?;
    conn.transaction(|conn| {
        let row = NewAccount::new("b@example.com");
        insert_into(accounts::table).values(row).execute(conn)?;
        update(accounts::table.find(id)).set(add()).execute(conn)
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

/// Waits for locks, as whoever has several writers sets it: without that plain Diesel fails as well.
#[derive(Debug)]
struct Patient;

impl CustomizeConnection<SqliteConnection, r2d2::Error> for Patient {
    fn on_acquire(&self, conn: &mut SqliteConnection) -> Result<(), r2d2::Error> {
        let set = conn.batch_execute("PRAGMA busy_timeout = 120000; PRAGMA journal_mode = WAL");
        set.map_err(r2d2::Error::QueryError)
    }
}

/// Writers whose transactions write first, with and without a consumer, each with connections of its own
/// that were never used before: how fast they are is said, and none may fail.
fn patient(
    writers: usize,
    auditor: Option<&Auditor>,
    with_consumer: bool,
    round: Round,
) -> Outcome {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("app.db").display().to_string();
    let conn = &mut SqliteConnection::establish(&path).unwrap();
    conn.batch_execute(ACCOUNTS).unwrap();
    conn.run_pending_migrations(trail::MIGRATIONS).unwrap();
    let manager = ConnectionManager::<SqliteConnection>::new(path);
    let pool = Pool::builder().max_size(20).min_idle(Some(0));
    let pool = match auditor {
        Some(auditor) => pool
            .connection_customizer(auditor.customizer().after(Box::new(Patient)))
            .build(manager),
        None => pool.connection_customizer(Box::new(Patient)).build(manager),
    };
    let pool = pool.unwrap();
    let consumer = auditor.filter(|_| with_consumer).map(|auditor| {
        let consumer = Consumer::builder(auditor.queue(), pool.clone()).interval(INTERVAL / 10);
        consumer.spawn().unwrap()
    });
    let outcome = write(&pool, writers, round, Duration::from_secs(2));
    if let Some(consumer) = consumer {
        consumer.flush_within(LONG).unwrap();
    }
    outcome
}

#[test]
fn transactions_that_write_first_fail_for_nobody_with_and_without_a_consumer() {
    for writers in [2, 8] {
        let plain = patient(writers, None, false, plain_writes);
        assert_eq!(plain.failed, 0, "{plain:?}");
        for with_consumer in [false, true] {
            let auditor = Auditor::builder()
                .queue(MemoryQueue::new())
                .build()
                .unwrap();
            let recorded = patient(writers, Some(&auditor), with_consumer, recorded_writes);
            let what = format!("{writers} writers, consumer: {with_consumer}");
            assert_eq!(recorded.failed, 0, "{what}: {recorded:?}");
            println!("{what}: {} rounds, plain {}", recorded.rounds, plain.rounds);
        }
    }
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
fn compared(writers: usize, journal_mode: &str) -> (Outcome, Outcome, Duration) {
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
    consumer.flush_within(LONG).unwrap();
    let conn = &mut pool.get().unwrap();
    let rows: i64 = trail::audit_logs::table.count().get_result(conn).unwrap();
    let balances: Vec<i64> = accounts::table
        .select(accounts::balance)
        .load(conn)
        .unwrap();
    // Inserts are plain here, and each update adds one.
    assert_eq!(rows, balances.iter().sum::<i64>());
    (plain, recorded, longest)
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
fn a_consumer_fails_no_write_of_a_writer_that_never_pauses_and_stores_in_time() {
    for mode in ["DELETE", "WAL"] {
        let (plain, recorded, longest) = compared(1, mode);
        assert_eq!(plain.failed, 0, "{plain:?}");
        assert_eq!(recorded.failed, 0, "{recorded:?}");
        let bound = INTERVAL + SLACK;
        assert!(longest < bound, "nothing stored for {longest:?}");
    }
}

#[test]
fn a_consumer_fails_no_write_that_plain_diesel_does_not_fail() {
    for writers in [2, 8] {
        for mode in ["DELETE", "WAL"] {
            let (plain, recorded, _) = compared(writers, mode);
            let rate = |it: &Outcome| f64::from(it.failed) / f64::from(it.rounds);
            assert!(rate(&recorded) <= rate(&plain), "{plain:?} {recorded:?}");
        }
    }
}
