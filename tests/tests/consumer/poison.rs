//! Records that end the connection of whoever stores them, and outages that look like them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::thread;
use std::time::{Duration, Instant};

use audit_diesel::{Consumer, MemoryQueue, Payload, Queue};
use audit_tests::app::postgres::app;
use audit_tests::{PostgresServer, TestDatabase, pg_pool, wait_until};
use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use diesel_migrations::MigrationHarness;

use crate::on_postgres::helpers::*;
use crate::way::{Carried, Way};

/// A server that crashes again and again takes its time.
const LONG: Duration = Duration::from_secs(600);

/// Ends the backend that inserts a record whose action begins with "poison".
const END_ITSELF: &str = "
    CREATE FUNCTION end_it() RETURNS trigger LANGUAGE plpgsql AS
        'BEGIN PERFORM pg_terminate_backend(pg_backend_pid()); RETURN NEW; END';
    CREATE TRIGGER end_it BEFORE INSERT ON audit_logs FOR EACH ROW
        WHEN (NEW.action LIKE 'poison%') EXECUTE FUNCTION end_it();";

fn mixed(count: usize, poison: &[usize]) -> Vec<Payload> {
    let record = |n| match poison.contains(&n) {
        true => payload(&format!("poison.{n}")),
        false => payload(&format!("n.{n}")),
    };
    (0..count).map(record).collect()
}

/// Stores records of which those at the given places are poison, and checks what became of each.
fn poisoned_at(count: usize, places: &[usize], sql: &str) {
    let app = app();
    app.pool.get().unwrap().batch_execute(sql).unwrap();
    let queue = MemoryQueue::new();
    let all = mixed(count, places);
    queue.push(&all).unwrap();
    let consumer = consumer(&app, queue.clone());
    consumer.flush_within(LONG).unwrap();
    let mut good = names(count);
    good.retain(|name| !places.contains(&name[2..].parse().unwrap()));
    assert_eq!(stored(&app), good);
    let mut held: Vec<_> = quarantined(&app);
    held.sort_by_key(|row| all.iter().position(|p| p.as_bytes() == row.payload));
    let bytes: Vec<_> = held.iter().map(|row| row.payload.as_slice()).collect();
    let poison: Vec<_> = places.iter().map(|n| all[*n].as_bytes()).collect();
    assert_eq!(bytes, poison);
    for row in held {
        assert!(
            row.reason.contains("its connection ended"),
            "{}",
            row.reason
        );
        assert!(
            row.reason.contains("terminating connection")
                || row.reason.contains("server closed the connection"),
            "{}",
            row.reason
        );
    }
    let stats = consumer.stats();
    assert_eq!(stats.stored, good.len() as u64, "{stats:?}");
    assert_eq!(
        (stats.quarantined, stats.poison),
        (places.len() as u64, places.len() as u64)
    );
    assert_eq!((stats.duplicates, stats.panics), (0, 0), "{stats:?}");
    assert!(queue.is_empty().unwrap());
    // What follows goes on in whole batches.
    let batches = stats.batches;
    queue.push(&payloads(900)).unwrap();
    consumer.flush().unwrap();
    queue.push(&payloads(900)).unwrap();
    consumer.flush().unwrap();
    assert!(
        consumer.stats().batches <= batches + 20,
        "{:?}",
        consumer.stats()
    );
}

#[test]
fn one_in_a_thousand_is_found() {
    poisoned_at(1_000, &[389], END_ITSELF);
}

#[test]
fn two_side_by_side_are_found() {
    poisoned_at(100, &[40, 41], END_ITSELF);
}

#[test]
fn the_first_and_the_last_are_found() {
    poisoned_at(64, &[0, 63], END_ITSELF);
}

#[test]
fn a_batch_of_nothing_else_is_found() {
    poisoned_at(2, &[0, 1], END_ITSELF);
}

/// The statement is fine, and COMMIT is what ends the connection.
#[test]
fn one_that_ends_the_connection_at_commit_is_found() {
    poisoned_at(
        20,
        &[7],
        "CREATE FUNCTION end_it() RETURNS trigger LANGUAGE plpgsql AS
             'BEGIN PERFORM pg_terminate_backend(pg_backend_pid()); RETURN NEW; END';
         CREATE CONSTRAINT TRIGGER end_it AFTER INSERT ON audit_logs
             DEFERRABLE INITIALLY DEFERRED FOR EACH ROW
             WHEN (NEW.action LIKE 'poison%') EXECUTE FUNCTION end_it();",
    );
}

fn server() -> (PostgresServer, TestDatabase) {
    let server = PostgresServer::start();
    let database = TestDatabase::on(&server.url());
    let migrations = audit_diesel::postgres::MIGRATIONS;
    database
        .connection()
        .run_pending_migrations(migrations)
        .unwrap();
    (server, database)
}

fn actions(database: &TestDatabase) -> Vec<String> {
    use audit_diesel::postgres::audit_logs;
    let rows = audit_logs::table
        .select(audit_logs::action)
        .order(audit_logs::id);
    rows.load(&mut database.connection()).unwrap()
}

fn held(database: &TestDatabase) -> Vec<(Vec<u8>, String)> {
    use audit_diesel::postgres::audit_quarantine as held;
    let rows = held::table.select((held::payload, held::reason));
    rows.load(&mut database.connection()).unwrap()
}

/// A backend that crashes takes all others with it, and the server recovers each time.
#[test]
fn one_that_crashes_the_server_is_found() {
    let (server, database) = server();
    let sql = "CREATE FUNCTION crash() RETURNS trigger LANGUAGE plpgsql AS
                   'BEGIN EXECUTE ''COPY (SELECT 1) TO PROGRAM ''''kill -9 $PPID''''''; RETURN NEW; END';
               CREATE TRIGGER crash BEFORE INSERT ON audit_logs FOR EACH ROW
                   WHEN (NEW.action LIKE 'poison%') EXECUTE FUNCTION crash();";
    database.connection().batch_execute(sql).unwrap();
    let queue = MemoryQueue::new();
    let all = mixed(50, &[20]);
    queue.push(&all).unwrap();
    let consumer = Consumer::builder(Arc::new(queue), pg_pool(&database.url()));
    let consumer = consumer.interval(NEVER).spawn().unwrap();
    wait_until("all of them", LONG, || {
        consumer.flush_within(Duration::from_secs(5)).is_ok()
    });
    let mut good = names(50);
    good.remove(20);
    assert_eq!(actions(&database), good);
    let held = held(&database);
    assert_eq!(held.len(), 1);
    assert_eq!(held[0].0, all[20].as_bytes());
    drop(server);
}

fn port_of(database: &TestDatabase) -> u16 {
    let url = database.url();
    let (server, _) = url.rsplit_once('/').unwrap();
    server.rsplit_once(':').unwrap().1.parse().unwrap()
}

/// A database, and a way to it.
fn over(ends: impl Fn(&Carried) -> bool + Send + Sync + 'static) -> (TestDatabase, Way, String) {
    let database = TestDatabase::new();
    let migrations = audit_diesel::postgres::MIGRATIONS;
    database
        .connection()
        .run_pending_migrations(migrations)
        .unwrap();
    let port = port_of(&database);
    let way = Way::to(port, ends);
    let url = database.url();
    let url = url.replace(&format!(":{port}/"), &format!(":{}/", way.port));
    (
        database,
        way,
        format!("{url}?sslmode=disable&gssencmode=disable"),
    )
}

fn consumer_at(url: &str, queue: &MemoryQueue) -> Consumer {
    let consumer = Consumer::builder(Arc::new(queue.clone()), pg_pool(url));
    consumer.interval(NEVER).spawn().unwrap()
}

/// Something on the way does not like a record's content. It does not see that on its way into
/// quarantine.
#[test]
fn one_whose_content_ends_the_connection_is_found() {
    let word = b"poison";
    let (database, _way, url) = over(move |carried| carried.latest.windows(6).any(|w| w == word));
    let queue = MemoryQueue::new();
    let all = mixed(30, &[11]);
    queue.push(&all).unwrap();
    // It cannot be read as a record, so that quarantine is where it is put at once.
    let unreadable = Payload::from(b"poison".to_vec());
    queue.push(std::slice::from_ref(&unreadable)).unwrap();
    let consumer = consumer_at(&url, &queue);
    consumer.flush_within(LONG).unwrap();
    let mut good = names(30);
    good.remove(11);
    assert_eq!(actions(&database), good);
    let held: Vec<_> = held(&database).into_iter().map(|row| row.0).collect();
    assert_eq!(held.len(), 2);
    assert!(held.contains(&all[11].as_bytes().to_vec()));
    assert!(held.contains(&unreadable.as_bytes().to_vec()));
    assert_eq!(consumer.stats().poison, 2);
}

/// A pooler that takes messages of a certain size only.
#[test]
fn one_that_is_larger_than_what_passes_is_found() {
    let (database, _way, url) = over(|carried| carried.longest > 40_000);
    let queue = MemoryQueue::new();
    let large = large(100_000);
    queue.push(&payloads(5)).unwrap();
    queue.push(std::slice::from_ref(&large)).unwrap();
    queue.push(&payloads(5)).unwrap();
    let consumer = consumer_at(&url, &queue);
    consumer.flush_within(LONG).unwrap();
    assert_eq!(actions(&database), [names(5), names(5)].concat());
    let held = held(&database);
    assert_eq!(held.len(), 1);
    assert!(held[0].0 == large.as_bytes());
}

fn large(bytes: usize) -> Payload {
    let mut record = audit_diesel::Record::new("large", audit_diesel::AuditContext::default());
    // One text of that length would be cut.
    for n in 0..bytes / 50_000 {
        record
            .extra
            .insert(format!("text.{n}"), "x".repeat(50_000).into());
    }
    record.encode().unwrap()
}

/// Drives a consumer until it has failed so often, and checks that it blames nobody.
fn blames_nobody(consumer: &Consumer, failures: u64) {
    wait_until("failures", LONG, || {
        let _ = consumer.flush_within(Duration::from_millis(10));
        let stats = consumer.stats();
        assert_eq!(stats.quarantined, 0, "{stats:?}");
        stats.outages >= failures
    });
}

/// A large record takes more of what there is a bound to, however small the batches are. It is
/// not to blame. What goes into quarantine passes, so that a wrong verdict would show.
#[test]
fn a_way_that_carries_a_bounded_amount_convicts_nobody() {
    let convicted = AtomicBool::new(false);
    let large = large(200_000);
    let too_much = large.as_bytes().len() * 3 / 4;
    assert!(too_much > 100_000, "it is to be large: {too_much}");
    let (database, way, url) = over(move |carried| {
        let insert = b"INSERT INTO \"audit_quarantine\"";
        if carried
            .latest
            .windows(insert.len())
            .any(|words| words == insert)
        {
            convicted.store(true, SeqCst);
        }
        carried.bytes > too_much && !convicted.load(SeqCst)
    });
    let queue = MemoryQueue::new();
    queue.push(&[large]).unwrap();
    queue.push(&payloads(3)).unwrap();
    let consumer = consumer_at(&url, &queue);
    blames_nobody(&consumer, 30);
    assert!(way.ended() >= 30);
    way.open();
    consumer.flush_within(LONG).unwrap();
    assert_eq!(actions(&database), ["large", "n.0", "n.1", "n.2"]);
    assert_eq!(held(&database), []);
}

/// A slow record is on its connection for longer than connections live.
#[test]
fn a_way_that_carries_for_a_bounded_time_convicts_nobody() {
    let (database, way, url) = over(|carried| carried.since.elapsed() > Duration::from_millis(250));
    let sql = "CREATE FUNCTION wait() RETURNS trigger LANGUAGE plpgsql AS
                   'BEGIN PERFORM pg_sleep(0.4); RETURN NEW; END';
               CREATE TRIGGER wait BEFORE INSERT ON audit_logs FOR EACH ROW
                   WHEN (NEW.action = 'n.0') EXECUTE FUNCTION wait();";
    database.connection().batch_execute(sql).unwrap();
    let queue = MemoryQueue::new();
    queue.push(&payloads(4)).unwrap();
    way.open();
    let consumer = consumer_at(&url, &queue);
    way.close();
    blames_nobody(&consumer, 40);
    way.open();
    consumer.flush_within(LONG).unwrap();
    assert_eq!(actions(&database), names(4));
    assert_eq!(held(&database), []);
}

/// Plays an outage while records are stored, until the consumer has failed so often; how many
/// records that were.
fn through(
    (consumer, queue): (&Consumer, &MemoryQueue),
    failures: u64,
    mut outage: impl FnMut() + Send,
) -> usize {
    let mut pushed = 0;
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        let over = &over;
        scope.spawn(move || {
            while !over.load(SeqCst) {
                outage();
            }
        });
        let deadline = Instant::now() + LONG;
        while consumer.stats().outages < failures && Instant::now() < deadline {
            if queue.len().unwrap() < 100 {
                queue.push(&payloads(100)).unwrap();
                pushed += 100;
            }
            let _ = consumer.flush_within(Duration::from_millis(50));
        }
        over.store(true, SeqCst);
    });
    assert!(
        consumer.stats().outages >= failures,
        "{:?}",
        consumer.stats()
    );
    consumer.flush_within(LONG).unwrap();
    pushed
}

/// Somebody ends all connections again and again, now at short and now at long intervals.
#[test]
fn connections_that_are_ended_at_random_convict_nobody() {
    let database = TestDatabase::new();
    let migrations = audit_diesel::postgres::MIGRATIONS;
    database
        .connection()
        .run_pending_migrations(migrations)
        .unwrap();
    let queue = MemoryQueue::new();
    let consumer = Consumer::builder(Arc::new(queue.clone()), pg_pool(&database.url()));
    let consumer = consumer.batch_size(20).interval(NEVER).spawn().unwrap();
    let (mut micros, mut admin) = (1, database.connection());
    let pushed = through((&consumer, &queue), 60, || {
        let sql = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                   WHERE datname = current_database() AND pid <> pg_backend_pid()";
        admin.batch_execute(sql).unwrap();
        micros = (micros + 1) * 7_919 % 40_000;
        thread::sleep(Duration::from_micros(micros));
    });
    assert_eq!(actions(&database).len(), pushed);
    assert_eq!(held(&database), []);
    assert_eq!(consumer.stats().quarantined, 0);
}

/// A server that is killed and comes back, again and again.
#[test]
fn a_server_that_is_killed_again_and_again_convicts_nobody() {
    let (mut server, database) = server();
    let queue = MemoryQueue::new();
    let url = format!("{}?connect_timeout=2", database.url());
    let consumer = Consumer::builder(Arc::new(queue.clone()), pg_pool(&url));
    let consumer = consumer.batch_size(5).interval(NEVER).spawn().unwrap();
    let pushed = through((&consumer, &queue), 12, || {
        server.kill9();
        server.restart();
        thread::sleep(Duration::from_millis(100));
    });
    assert_eq!(actions(&database).len(), pushed);
    assert_eq!(held(&database), []);
}

/// What cannot go into quarantine waits, and it is said which table has to be mended.
#[test]
fn a_quarantine_that_takes_no_poison_is_named() {
    let app = app();
    let sql = |sql: &str| app.pool.get().unwrap().batch_execute(sql).unwrap();
    sql(END_ITSELF);
    sql("ALTER TABLE audit_quarantine ADD CONSTRAINT theirs CHECK (false)");
    let queue = MemoryQueue::new();
    queue.push(&mixed(1, &[0])).unwrap();
    let consumer = consumer(&app, queue.clone());
    wait_until("what is wrong", LONG, || {
        let _ = consumer.flush_within(Duration::from_millis(10));
        let said = consumer.stats().last_error.unwrap_or_default();
        said.contains("`audit_quarantine` refuses every row")
    });
    sql("ALTER TABLE audit_quarantine DROP CONSTRAINT theirs");
    consumer.flush_within(LONG).unwrap();
    assert_eq!(quarantined(&app).len(), 1);
}

#[test]
fn the_search_can_be_stopped() {
    let app = app();
    app.pool.get().unwrap().batch_execute(END_ITSELF).unwrap();
    let queue = MemoryQueue::new();
    queue.push(&mixed(10, &[3])).unwrap();
    let consumer = consumer(&app, queue.clone());
    wait_until("the search", LONG, || {
        let _ = consumer.flush_within(Duration::from_millis(1));
        consumer.stats().outages >= 6
    });
    wait_until("its end", LONG, || consumer.stop().is_ok());
    assert!(!consumer.stats().running);
}
