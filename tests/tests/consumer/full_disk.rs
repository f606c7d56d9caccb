//! PostgreSQL's disk is full: records wait, and arrive by themselves when there is room.

use std::sync::Arc;
use std::time::Duration;

use audit_diesel::postgres::{audit_logs, audit_quarantine};
use audit_diesel::{AuditLog, Consumer, MemoryQueue, Payload, Queue};
use audit_tests::{OnSmallDisk, PostgresServer, TestDatabase, wait_until};
use diesel::connection::SimpleConnection;
use diesel::prelude::*;

use super::outages::migrated;
use crate::on_postgres::helpers::{names, payload};

const LONG: Duration = Duration::from_secs(120);

/// More than the pages hold that are there already.
const MANY: usize = 5_000;

/// A consumer that nobody helps.
struct Trail {
    database: TestDatabase,
    queue: MemoryQueue,
    consumer: Consumer,
}

impl Trail {
    fn on(server_url: &str) -> Self {
        let (database, pool) = migrated(server_url);
        let queue = MemoryQueue::new();
        let builder = Consumer::builder(Arc::new(queue.clone()), pool);
        let builder = builder.interval(Duration::from_millis(20));
        let trail = Self {
            database,
            queue,
            consumer: builder.spawn().unwrap(),
        };
        // With one in quarantine, there is room for more of them on a full disk.
        trail.queue.push(&[Payload::from(b"?".to_vec())]).unwrap();
        trail.push(0..50);
        wait_until("a start", LONG, || trail.queue.is_empty().unwrap());
        trail
    }

    fn push(&self, numbers: std::ops::Range<usize>) {
        let payloads: Vec<_> = numbers.map(|n| payload(&format!("n.{n}"))).collect();
        self.queue.push(&payloads).unwrap();
    }

    fn complains(&self, words: &str) {
        wait_until(words, LONG, || {
            let error = self.consumer.stats().last_error;
            error.is_some_and(|error| error.contains(words))
        });
        assert_eq!(self.consumer.stats().quarantined, 1);
    }

    /// Waits for that many records, each of which is there once.
    fn has(&self, count: usize) {
        wait_until("an empty queue", LONG, || self.queue.is_empty().unwrap());
        let conn = &mut self.database.connection();
        let rows = audit_logs::table
            .select(AuditLog::as_select())
            .order(audit_logs::id)
            .load(conn);
        let actions = rows.unwrap().into_iter().map(|row| row.action);
        assert!(actions.eq(names(count)));
        let quarantined = audit_quarantine::table.count();
        assert_eq!(quarantined.get_result::<i64>(conn), Ok(1));
        assert!(self.consumer.stats().outages > 0);
    }
}

#[test]
fn full_tables_are_waited_for() {
    let Some(server) = PostgresServer::start_on_small_disk(OnSmallDisk::Data) else {
        return a_raised_error_is_waited_for();
    };
    let trail = Trail::on(&server.url());
    server.small_disk().fill();
    trail.push(50..MANY);
    trail.complains("No space left on device");
    server.small_disk().make_room();
    trail.has(MANY);
}

/// Where no disk can be filled: what PostgreSQL says of a full one, said by a trigger.
fn a_raised_error_is_waited_for() {
    let server = PostgresServer::start();
    let trail = Trail::on(&server.url());
    let sql = |sql: &str| trail.database.connection().batch_execute(sql).unwrap();
    sql(
        "CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
             RAISE EXCEPTION 'No space left on device' USING ERRCODE = '53100';
         END $$;
         CREATE TRIGGER fail BEFORE INSERT ON audit_logs FOR EACH ROW EXECUTE FUNCTION fail();",
    );
    trail.push(50..MANY);
    trail.complains("No space left on device");
    sql("DROP TRIGGER fail ON audit_logs");
    trail.has(MANY);
}

/// PostgreSQL panics, tries to recover, and may end where it cannot.
#[test]
fn a_full_write_ahead_log_is_waited_for() {
    let Some(mut server) = PostgresServer::start_on_small_disk(OnSmallDisk::Log) else {
        return a_server_that_crashes_is_waited_for();
    };
    let trail = Trail::on(&server.url());
    server.small_disk().fill();
    trail.push(50..MANY);
    wait_until("a panic", LONG, || server.log_text().contains("PANIC"));
    wait_until("an outage", LONG, || trail.consumer.stats().outages > 0);
    server.small_disk().make_room();
    wait_until("an empty queue", LONG, || {
        if !server.is_running() {
            server.restart();
        }
        trail.queue.is_empty().unwrap()
    });
    trail.has(MANY);
}

/// Where no disk can be filled: a server that is killed and starts again, which is the same for
/// those that are connected.
fn a_server_that_crashes_is_waited_for() {
    let mut server = PostgresServer::start();
    let trail = Trail::on(&server.url());
    server.kill9();
    trail.push(50..MANY);
    wait_until("an outage", LONG, || trail.consumer.stats().outages > 0);
    server.restart();
    trail.has(MANY);
}
