//! Everything together: writers, rollbacks, the queues, several consumers, and the table at the end.

use std::collections::HashMap;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use audit_diesel::{AuditLog, Auditor, Consumer, Journal, Queue, RedisQueue, audited};
use audit_tests::app::{Account, NewAccount, accounts};
use audit_tests::{LONG, TestRedis, wait_until};
use diesel::prelude::*;
use diesel::r2d2::{ConnectionManager, Pool};
use diesel::result::Error;

/// How many rows the writers share, so that they often write the same one.
const ROWS: i32 = 40;

/// What one thread did: audited calls, and those of them that the database kept.
#[derive(Default)]
struct Done {
    called: AtomicUsize,
    kept: AtomicUsize,
}

impl Done {
    fn count(&self, called: usize, kept: usize) {
        self.called.fetch_add(called, Ordering::SeqCst);
        self.kept.fetch_add(kept, Ordering::SeqCst);
    }
}

/// Code that runs on both backends, written once for each: Diesel's bounds for a generic
/// connection would be longer than it is.
macro_rules! writers {
    ($name:ident, $conn:ty, $trail:path) => {
        mod $name {
            use super::*;
            use $trail as trail;

            type Conn = $conn;

            /// Adds to a row's balance, which makes a record each time.
            fn add(conn: &mut Conn, id: i32, amount: i64) -> QueryResult<()> {
                let rows = audited::update(accounts::table.find(id))
                    .set(accounts::balance.eq(accounts::balance + amount))
                    .execute(conn)?;
                assert_eq!(rows, 1);
                Ok(())
            }

            /// An UPDATE that a constraint refuses.
            fn refused(conn: &mut Conn, id: i32) -> QueryResult<usize> {
                audited::update(accounts::table.find(id))
                    .set(accounts::balance.eq(-1))
                    .execute(conn)
            }

            /// Ten writes, five of them kept: each way to lose one, and each way to keep one.
            pub fn ten_writes(conn: &mut Conn, step: usize, done: &Done) {
                let id = |n: usize| ((step * 7 + n * 3) % ROWS as usize) as i32 + 1;
                // By itself.
                add(conn, id(0), 1).unwrap();
                // Two in a transaction.
                begin(conn, |conn| {
                    // In the order of the keys, so that writers do not wait for each other.
                    let (first, second) = (id(1).min(id(2)), id(1).max(id(2)));
                    add(conn, first, 1)?;
                    add(conn, second, 1)
                })
                .unwrap();
                // Rolled back.
                let rolled_back = begin(conn, |conn| {
                    add(conn, id(3), 1)?;
                    Err::<(), _>(Error::RollbackTransaction)
                });
                assert_eq!(rolled_back, Err(Error::RollbackTransaction));
                // One kept, two rolled back to a savepoint, and one that an error takes away.
                begin(conn, |conn| {
                    add(conn, id(4), 1)?;
                    let _ = conn.transaction(|conn| {
                        add(conn, id(4), 1)?;
                        add(conn, id(4), 1)?;
                        Err::<(), _>(Error::RollbackTransaction)
                    });
                    let _ = conn.transaction(|conn| {
                        add(conn, id(4), 1)?;
                        refused(conn, id(4))
                    });
                    Ok(())
                })
                .unwrap();
                done.count(8, 4);
                swallowed(conn, id(5), done);
                add(conn, id(6), 1).unwrap();
                done.count(1, 1);
            }

            pub fn run(
                pool: &Pool<ConnectionManager<Conn>>,
                threads: usize,
                writes: usize,
            ) -> Done {
                let done = Done::default();
                let conn = &mut pool.get().unwrap();
                for n in 1..=ROWS {
                    let email = n.to_string();
                    let row = NewAccount::new(&email);
                    audited::insert_into(accounts::table)
                        .values(row)
                        .execute(conn)
                        .unwrap();
                }
                thread::scope(|scope| {
                    for thread in 0..threads {
                        let done = &done;
                        scope.spawn(move || {
                            let conn = &mut pool.get().unwrap();
                            for step in 0..writes / threads / 10 {
                                ten_writes(conn, thread * 1_000 + step, done);
                            }
                        });
                    }
                });
                done.count(0, ROWS as usize);
                done
            }

            /// Checks the trail against the table: as many records as kept writes, each old value
            /// the new value before it, the last new value the row's.
            pub fn check(conn: &mut Conn, kept: usize) {
                let rows: Vec<AuditLog> = trail::audit_logs::table
                    .select(AuditLog::as_select())
                    .order((trail::audit_logs::occurred_at, trail::audit_logs::id))
                    .load(conn)
                    .unwrap();
                assert_eq!(rows.len(), kept);
                let mut chains = chains(rows);
                let table: Vec<Account> = accounts::table.load(conn).unwrap();
                assert_eq!(table.len(), chains.len());
                for account in table {
                    let chain = chains.remove(&account.id.to_string()).unwrap();
                    check_chain(chain, account.balance);
                }
                let held: i64 = trail::audit_quarantine::table
                    .count()
                    .get_result(conn)
                    .unwrap();
                assert_eq!(held, 0);
            }

            include!(concat!("end_to_end/", stringify!($name), ".rs"));
        }
    };
}

/// Old and new balance, of each record of each row.
type Chains = HashMap<String, Vec<(Option<i64>, i64)>>;

fn chains(rows: Vec<AuditLog>) -> Chains {
    let mut chains = Chains::new();
    for row in rows {
        let changes = row.changes.unwrap();
        let (old, new) = (&changes["balance"]["old"], &changes["balance"]["new"]);
        let chain = chains.entry(row.resource_id.unwrap()).or_default();
        chain.push((old.as_i64(), new.as_i64().unwrap()));
    }
    chains
}

/// The chain stands in the order of its times.
fn check_chain(chain: Vec<(Option<i64>, i64)>, balance: i64) {
    let mut before = None;
    for (old, new) in &chain {
        assert_eq!(*old, before, "{chain:?}");
        before = Some(*new);
    }
    assert_eq!(before, Some(balance));
    assert_eq!(
        chain.len() as i64,
        balance + 1,
        "the new row, and each addition"
    );
}

writers!(postgres, PgConnection, audit_diesel::postgres);
writers!(sqlite, SqliteConnection, audit_diesel::sqlite);

#[test]
fn ten_thousand_writes_through_journal_and_redis() {
    let (app, redis) = (audit_tests::app::postgres::app(), TestRedis::new());
    let folder = tempfile::tempdir().unwrap();
    let list = || {
        RedisQueue::builder(redis.url())
            .key(redis.key())
            .io_timeout(LONG)
            .build()
            .unwrap()
    };
    let auditor = Auditor::builder()
        .redis_queue(list())
        .journal(folder.path().join("journal.db"))
        .build()
        .unwrap();
    let pool = Pool::builder()
        .max_size(12)
        .connection_customizer(auditor.customizer())
        .build(ConnectionManager::<PgConnection>::new(app.guard.url()))
        .unwrap();
    let often = Duration::from_millis(50);
    let mine = Consumer::builder(auditor.queue(), pool.clone()).interval(often);
    let others = [(); 2].map(|()| {
        let other = Consumer::builder(Arc::new(list()), app.pool.clone()).interval(often);
        other.spawn().unwrap()
    });
    let mine = mine.spawn().unwrap();
    let started = Instant::now();
    let done = postgres::run(&pool, 8, 10_000);
    let written = started.elapsed();
    mine.flush_within(LONG).unwrap();
    let flushed = started.elapsed();
    assert_eq!(done.called.into_inner(), 10_000);
    let kept = done.kept.into_inner();
    assert_eq!(kept, 5_000 + ROWS as usize);
    postgres::check(&mut app.pool.get().unwrap(), kept);
    // Who has stored and acknowledged counts it a moment later.
    wait_until("all to be counted", LONG, || {
        let stats = [mine.stats(), others[0].stats(), others[1].stats()];
        stats.iter().map(|stats| stats.stored).sum::<u64>() == kept as u64
    });
    println!("10,000 writes of 8 threads: {written:?}; stored after {flushed:?}");
}

#[test]
fn two_thousand_writes_with_a_journal_alone() {
    let app = audit_tests::app::sqlite::app();
    let folder = tempfile::tempdir().unwrap();
    let auditor = Auditor::builder()
        .journal(folder.path().join("journal.db"))
        .build()
        .unwrap();
    let pool = Pool::builder()
        .max_size(6)
        .connection_customizer(auditor.customizer().after(Box::new(sqlite::Patient)))
        .build(ConnectionManager::<SqliteConnection>::new(
            app.guard.path().join("app.db").display().to_string(),
        ))
        .unwrap();
    let consumer = Consumer::builder(auditor.queue(), pool.clone())
        .interval(Duration::from_millis(50))
        .spawn()
        .unwrap();
    let started = Instant::now();
    let done = sqlite::run(&pool, 4, 2_000);
    let written = started.elapsed();
    consumer.flush_within(LONG).unwrap();
    let kept = done.kept.into_inner();
    assert_eq!(
        (done.called.into_inner(), kept),
        (2_000, 1_000 + ROWS as usize)
    );
    sqlite::check(&mut app.pool.get().unwrap(), kept);
    println!(
        "2,000 writes of 4 threads: {written:?}; stored after {:?}",
        started.elapsed()
    );
}

const CHILD_DATABASE: &str = "AUDIT_TEST_CHILD_DATABASE";
const CHILD_JOURNAL: &str = "AUDIT_TEST_CHILD_JOURNAL";

/// Not a test of its own: it writes, says what was written, and is killed.
#[test]
#[ignore = "a child process of another test"]
fn child() {
    let (Ok(url), Ok(journal)) = (std::env::var(CHILD_DATABASE), std::env::var(CHILD_JOURNAL))
    else {
        return;
    };
    let auditor = Auditor::builder().journal(journal).build().unwrap();
    let pool = Pool::builder()
        .max_size(4)
        .connection_customizer(auditor.customizer())
        .build(ConnectionManager::<PgConnection>::new(url))
        .unwrap();
    let _consumer = Consumer::builder(auditor.queue(), pool.clone())
        .interval(Duration::from_millis(5))
        .spawn()
        .unwrap();
    let conn = &mut pool.get().unwrap();
    for n in 0.. {
        let email = format!("{}.{n}", std::process::id());
        let add = |conn: &mut PgConnection| {
            audited::insert_into(accounts::table)
                .values(NewAccount::new(&email))
                .get_result::<Account>(conn)
        };
        let account = match n % 2 {
            0 => add(conn),
            _ => conn.transaction(|conn| add(conn)),
        };
        println!("wrote {}", account.unwrap().id);
    }
}

/// Runs a child until it has written so many rows, kills it, and gives back all that it said.
fn killed_after(writes: usize, url: &str, journal: &Path) -> Vec<String> {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["child", "--exact", "--ignored", "--nocapture"])
        .env(CHILD_DATABASE, url)
        .env(CHILD_JOURNAL, journal)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut ids = Vec::new();
    let mut killed = false;
    // What it said before it was killed may still be in the pipe.
    while let Some(Ok(line)) = lines.next() {
        ids.extend(line.rsplit_once("wrote ").map(|(_, id)| id.to_owned()));
        if ids.len() >= writes && !killed {
            child.kill().unwrap();
            killed = true;
        }
    }
    child.wait().unwrap();
    assert!(killed, "it ended by itself");
    ids
}

#[test]
fn a_process_that_is_killed_loses_nothing_that_it_acknowledged() {
    let app = audit_tests::app::postgres::app();
    let folder = tempfile::tempdir().unwrap();
    let journal = folder.path().join("journal.db");
    let mut acknowledged = Vec::new();
    for writes in [1, 17, 60, 143, 301, 88, 5, 211] {
        acknowledged.extend(killed_after(writes, &app.guard.url(), &journal));
    }
    // A restart: the journal is the same one, and a consumer of a new process drains it.
    let journal = Arc::new(Journal::builder(&journal).open().unwrap());
    let consumer = Consumer::builder(journal.clone(), app.pool.clone())
        .spawn()
        .unwrap();
    consumer.flush().unwrap();
    wait_until("an empty journal", LONG, || journal.is_empty().unwrap());
    let conn = &mut app.pool.get().unwrap();
    let rows: Vec<AuditLog> = audit_diesel::postgres::audit_logs::table
        .select(AuditLog::as_select())
        .load(conn)
        .unwrap();
    let mut count: HashMap<String, usize> = HashMap::new();
    for row in rows {
        *count.entry(row.resource_id.unwrap()).or_default() += 1;
    }
    for id in &acknowledged {
        assert_eq!(count.get(id), Some(&1), "row {id}");
    }
    assert!(count.values().all(|times| *times == 1));
    let table: Vec<i32> = accounts::table.select(accounts::id).load(conn).unwrap();
    // Whatever is in the trail is in the table, too.
    assert!(count.keys().all(|id| table.contains(&id.parse().unwrap())));
    println!(
        "{} writes acknowledged, {} recorded, 8 kills",
        acknowledged.len(),
        count.len()
    );
}
