//! PostgreSQL is away, read-only, slow or without the tables for a while: nothing is lost, and
//! nothing that is good goes into quarantine.

use std::time::Duration;

use audit_diesel::{AuditContext, Consumer, MemoryQueue, Payload, Queue, Record};
use audit_tests::app::postgres::app;
use audit_tests::{Call, Hooked, LONG, PgPool, PostgresServer, TestDatabase, flush_fails, pg_pool};
use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use diesel_migrations::MigrationHarness;

use crate::on_postgres::helpers::*;

#[test]
fn a_missing_table_quarantines_nothing() {
    for table in ["audit_logs", "audit_quarantine"] {
        let app = app();
        let queue = MemoryQueue::new();
        let consumer = consumer(&app, queue.clone());
        consumer.flush().unwrap();
        let sql = |sql: &str| app.pool.get().unwrap().batch_execute(sql).unwrap();
        sql(&format!("ALTER TABLE {table} RENAME TO away"));
        // One that must be quarantined, so that both tables are needed.
        queue.push(&[Payload::from(b"?".to_vec())]).unwrap();
        queue.push(&payloads(20)).unwrap();
        fails(&consumer, "does not exist");
        assert_eq!(queue.len().unwrap(), 21);
        sql(&format!("ALTER TABLE away RENAME TO {table}"));
        consumer.flush().unwrap();
        assert_eq!(stored(&app), names(20));
        assert_eq!(quarantined(&app).len(), 1);
    }
}

#[test]
fn a_missing_column_quarantines_nothing() {
    let app = app();
    let queue = MemoryQueue::new();
    let consumer = consumer(&app, queue.clone());
    let sql = |sql: &str| app.pool.get().unwrap().batch_execute(sql).unwrap();
    sql("ALTER TABLE audit_logs RENAME COLUMN ip TO away");
    queue.push(&payloads(20)).unwrap();
    fails(&consumer, "does not exist");
    sql("ALTER TABLE audit_logs RENAME COLUMN away TO ip");
    consumer.flush().unwrap();
    assert_eq!(stored(&app), names(20));
}

#[test]
fn a_read_only_database_is_waited_for() {
    let app = app();
    let queue = MemoryQueue::new();
    let url = app.guard.url();
    let name = url.rsplit('/').next().unwrap();
    let sql = |sql: &str| app.pool.get().unwrap().batch_execute(sql).unwrap();
    sql(&format!(
        "ALTER DATABASE {name} SET default_transaction_read_only = on"
    ));
    let pool = pg_pool(&url);
    let consumer = Consumer::builder(std::sync::Arc::new(queue.clone()), pool.clone());
    let consumer = consumer.interval(NEVER).spawn().unwrap();
    queue.push(&payloads(20)).unwrap();
    queue.push(&[Payload::from(b"?".to_vec())]).unwrap();
    fails(&consumer, "read-only");
    let kept = pool;
    drop((0..5).map(|_| kept.get().unwrap()).collect::<Vec<_>>());
    // The pool's sessions keep the setting that they began with, as after a switch-over.
    sql(&format!(
        "ALTER DATABASE {name} RESET default_transaction_read_only"
    ));
    assert!(kept.state().idle_connections >= 5);
    consumer.flush().unwrap();
    assert_eq!(stored(&app), names(20));
    assert_eq!(quarantined(&app).len(), 1);
}

/// The pool is the application's as well, which goes on reading.
#[test]
fn a_read_only_database_costs_the_pool_one_connection_at_a_time() {
    let app = app();
    let (url, queue) = (app.guard.url(), MemoryQueue::new());
    let name = url.rsplit('/').next().unwrap();
    let admin = &mut app.guard.connection();
    let read_only = format!("ALTER DATABASE {name} SET default_transaction_read_only = on");
    admin.batch_execute(&read_only).unwrap();
    let pool = pg_pool(&url);
    let consumer = Consumer::builder(std::sync::Arc::new(queue.clone()), pool.clone());
    let consumer = consumer.interval(NEVER).spawn().unwrap();
    consumer.flush().unwrap();
    let pid = |conn: &mut PgConnection| {
        let pid = diesel::dsl::sql::<diesel::sql_types::Integer>("pg_backend_pid()");
        diesel::select(pid).get_result::<i32>(conn).unwrap()
    };
    let mut all: Vec<_> = (0..5).map(|_| pool.get().unwrap()).collect();
    let pids: Vec<_> = all.iter_mut().map(|conn| pid(conn)).collect();
    drop(all);
    let began = std::time::Instant::now();
    queue.push(&payloads(20)).unwrap();
    fails(&consumer, "read-only");
    let alive = diesel::dsl::sql::<diesel::sql_types::BigInt>(
        "SELECT count(*) FROM pg_stat_activity WHERE pid = ANY(",
    )
    .bind::<diesel::sql_types::Array<diesel::sql_types::Integer>, _>(&pids)
    .sql(")")
    .get_result::<i64>(admin)
    .unwrap();
    let lasted = began.elapsed();
    let given_up = 1 + i64::try_from(lasted.as_secs()).unwrap();
    assert!(
        alive >= 5 - given_up,
        "{alive} of 5 are left after {lasted:?}"
    );
}

/// Statement and lock time-outs have no kind of their own in Diesel.
#[test]
fn time_outs_quarantine_nothing() {
    // What is not in the way has to be done in time, on a slow machine as well.
    for (setting, millis) in [("lock_timeout", 50), ("statement_timeout", 2_000)] {
        let app = app();
        let queue = MemoryQueue::new();
        let url = format!("{}?options=-c%20{setting}%3D{millis}", app.guard.url());
        let pool = pg_pool(&url);
        let consumer = Consumer::builder(std::sync::Arc::new(queue.clone()), pool);
        let consumer = consumer.interval(NEVER).spawn().unwrap();
        let locker = &mut app.guard.connection();
        locker
            .batch_execute("BEGIN; LOCK TABLE audit_logs IN SHARE MODE")
            .unwrap();
        queue.push(&payloads(20)).unwrap();
        fails(&consumer, "canceling statement");
        locker.batch_execute("COMMIT").unwrap();
        consumer.flush().unwrap();
        assert_eq!(stored(&app), names(20));
    }
}

/// What does not go through at once, for a limit of time, of memory or of anything else, goes through
/// in parts, and whole batches come back when they do.
#[test]
fn what_is_too_much_at_once_is_stored_in_smaller_batches() {
    let slow = "CREATE FUNCTION limited() RETURNS trigger LANGUAGE plpgsql AS
             'BEGIN PERFORM pg_sleep(0.004); RETURN NEW; END';
         CREATE TRIGGER limited BEFORE INSERT ON audit_logs FOR EACH ROW
             EXECUTE FUNCTION limited();";
    let narrow = "CREATE FUNCTION limited() RETURNS trigger LANGUAGE plpgsql AS
             'BEGIN IF (SELECT count(*) FROM rows) > 30 THEN
                  RAISE ''out of memory'' USING ERRCODE = ''53200''; END IF; RETURN NULL; END';
         CREATE TRIGGER limited AFTER INSERT ON audit_logs REFERENCING NEW TABLE AS rows
             FOR EACH STATEMENT EXECUTE FUNCTION limited();";
    for limit in [slow, narrow] {
        let app = app();
        let queue = MemoryQueue::new();
        let url = format!("{}?options=-c%20statement_timeout%3D500", app.guard.url());
        let consumer = Consumer::builder(std::sync::Arc::new(queue.clone()), pg_pool(&url));
        let consumer = consumer.interval(NEVER).spawn().unwrap();
        let sql = |sql: &str| app.guard.connection().batch_execute(sql).unwrap();
        sql(limit);
        queue.push(&payloads(1_000)).unwrap();
        consumer.flush_within(LONG).unwrap();
        assert_eq!(stored(&app), names(1_000));
        sql("DROP TRIGGER limited ON audit_logs");
        queue.push(&payloads(10_000)).unwrap();
        consumer.flush_within(LONG).unwrap();
        let batches = consumer.stats().batches;
        queue.push(&payloads(2_000)).unwrap();
        consumer.flush_within(LONG).unwrap();
        assert_eq!(consumer.stats().batches, batches + 2);
        assert_eq!(consumer.stats().quarantined, 0);
    }
}

/// Somebody else holds a row of the same id: the table takes any other one meanwhile.
#[test]
fn a_lock_on_one_record_quarantines_nothing() {
    let app = app();
    let queue = MemoryQueue::new();
    let record = Record::new("n.0", AuditContext::default());
    let url = format!("{}?options=-c%20lock_timeout%3D50", app.guard.url());
    let consumer = Consumer::builder(std::sync::Arc::new(queue.clone()), pg_pool(&url));
    let consumer = consumer.interval(NEVER).spawn().unwrap();
    let locker = &mut app.guard.connection();
    locker
        .batch_execute(&format!(
            "BEGIN; INSERT INTO audit_logs (id, occurred_at, action, outcome)
             VALUES ('{}', now(), 'other', 'success')",
            record.id
        ))
        .unwrap();
    queue.push(&[record.encode().unwrap()]).unwrap();
    fails(&consumer, "canceling statement");
    locker.batch_execute("ROLLBACK").unwrap();
    consumer.flush().unwrap();
    assert_eq!(stored(&app), names(1));
}

/// An error of no telling kind that is over when the record is tried again.
#[test]
fn a_passing_error_quarantines_nothing() {
    let app = app();
    let conn = &mut app.guard.connection();
    conn.batch_execute(
        "CREATE SEQUENCE tries;
         CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS
             'BEGIN IF nextval(''tries'') <= 2 THEN RAISE ''passing''; END IF; RETURN NEW; END';
         CREATE TRIGGER fail BEFORE INSERT ON audit_logs FOR EACH ROW
             WHEN (NEW.action LIKE 'n.%') EXECUTE FUNCTION fail();",
    )
    .unwrap();
    let queue = MemoryQueue::new();
    queue.push(&payloads(1)).unwrap();
    consumer(&app, queue).flush().unwrap();
    assert_eq!(stored(&app), names(1));
    assert!(quarantined(&app).is_empty());
}

#[test]
fn its_backend_is_killed_before_the_commit_and_after_it() {
    let app = app();
    let queue = MemoryQueue::new();
    let (url, kills) = (app.guard.url(), std::sync::atomic::AtomicU32::new(0));
    let hooked = Hooked::new(queue.clone(), move |call| {
        let first = || kills.fetch_add(1, std::sync::atomic::Ordering::SeqCst) < 2;
        if let Call::Ack(_) = call
            && first()
        {
            // Gone before the next try, which would meet one that is about to go.
            let sql = "SELECT pg_terminate_backend(pid, 60000) FROM pg_stat_activity
                       WHERE datname = current_database() AND pid <> pg_backend_pid()";
            PgConnection::establish(&url)
                .unwrap()
                .batch_execute(sql)
                .unwrap();
            return Hooked::<MemoryQueue>::away();
        }
        Ok(())
    });
    // Inside the storing transaction, too: a trigger that kills its own backend, twice.
    let conn = &mut app.guard.connection();
    conn.batch_execute(
        "CREATE SEQUENCE tries;
         CREATE FUNCTION die() RETURNS trigger LANGUAGE plpgsql AS
             'BEGIN IF nextval(''tries'') <= 2 THEN
                 PERFORM pg_terminate_backend(pg_backend_pid()); END IF; RETURN NULL; END';
         CREATE TRIGGER die AFTER INSERT ON audit_logs EXECUTE FUNCTION die();",
    )
    .unwrap();
    queue.push(&payloads(10)).unwrap();
    let consumer = consumer(&app, hooked);
    consumer.flush().unwrap();
    assert_eq!(stored(&app), names(10));
    assert!(quarantined(&app).is_empty());
    let stats = consumer.stats();
    assert_eq!((stats.duplicates, stats.outages), (10, 4), "{stats:?}");
}

/// A new database on this server, with the audit tables.
pub fn migrated(server_url: &str) -> (TestDatabase, PgPool) {
    let database = TestDatabase::on(server_url);
    let mut conn = database.connection();
    conn.run_pending_migrations(audit_diesel::postgres::MIGRATIONS)
        .unwrap();
    let url = format!("{}?connect_timeout=2", database.url());
    (database, pg_pool(&url))
}

#[test]
fn postgres_stops_dies_and_comes_back() {
    let mut server = PostgresServer::start();
    let (database, pool) = migrated(&server.url());
    let queue = MemoryQueue::new();
    let consumer = Consumer::builder(std::sync::Arc::new(queue.clone()), pool).interval(NEVER);
    let consumer = consumer.spawn().unwrap();
    queue.push(&payloads(50)).unwrap();
    consumer.flush().unwrap();
    let mut pushed = 50;
    for kill in [false, true] {
        if kill {
            server.kill9();
        } else {
            server.stop();
        }
        queue.push(&payloads(50)).unwrap();
        pushed += 50;
        flush_fails(&consumer, "no database connection");
        server.restart();
        consumer.flush().unwrap();
    }
    let rows: i64 = audit_diesel::postgres::audit_logs::table
        .count()
        .get_result(&mut database.connection())
        .unwrap();
    assert_eq!(rows, pushed);
    let stats = consumer.stats();
    assert_eq!((stats.stored, stats.quarantined), (pushed as u64, 0));
    server.stop();
    consumer.stop().unwrap();
}

/// While one is at work the others wait; the work goes on with the others when it ends.
#[test]
fn a_consumer_stands_by_while_another_one_works() {
    let app = app();
    let queue = MemoryQueue::new();
    let first = consumer(&app, queue.clone());
    let second = consumer(&app, queue.clone());
    let locker = &mut app.guard.connection();
    locker
        .batch_execute("BEGIN; LOCK TABLE audit_logs IN SHARE MODE")
        .unwrap();
    queue.push(&payloads(30)).unwrap();
    first.flush_within(Duration::from_millis(100)).unwrap_err();
    let error = second.flush_within(Duration::from_millis(200)).unwrap_err();
    assert!(error.to_string().contains("just a lot to do"), "{error}");
    locker.batch_execute("COMMIT").unwrap();
    second.flush().unwrap();
    assert_eq!(stored(&app), names(30));
    first.flush().unwrap();
    let (first, second) = (first.stats(), second.stats());
    assert_eq!(first.stored + second.stored, 30);
    assert_eq!(second.outages + first.outages, 0);
}

/// Another queue's consumer does other work, so neither waits for the other.
#[test]
fn consumers_of_different_queues_do_not_wait_for_each_other() {
    struct Named(MemoryQueue);
    impl Queue for Named {
        fn name(&self) -> String {
            "another queue".to_owned()
        }
        fn push(&self, payloads: &[Payload]) -> Result<(), audit_diesel::QueueError> {
            self.0.push(payloads)
        }
        fn peek(&self, limit: usize) -> Result<audit_diesel::Batch, audit_diesel::QueueError> {
            self.0.peek(limit)
        }
        fn ack(&self, batch: &audit_diesel::Batch) -> Result<usize, audit_diesel::QueueError> {
            self.0.ack(batch)
        }
        fn len(&self) -> Result<u64, audit_diesel::QueueError> {
            self.0.len()
        }
    }
    let app = app();
    let (one, other) = (MemoryQueue::new(), Named(MemoryQueue::new()));
    let same_id = payload("n.0");
    one.push(std::slice::from_ref(&same_id)).unwrap();
    other.push(&[payload("n.1")]).unwrap();
    // The first one is held up by somebody with its record's id.
    let record = Record::decode(same_id.as_bytes()).unwrap();
    let locker = &mut app.guard.connection();
    locker
        .batch_execute(&format!(
            "BEGIN; INSERT INTO audit_logs (id, occurred_at, action, outcome)
             VALUES ('{}', now(), 'other', 'success')",
            record.id
        ))
        .unwrap();
    let held = consumer(&app, one);
    held.flush_within(Duration::from_millis(100)).unwrap_err();
    consumer(&app, other).flush().unwrap();
    assert_eq!(stored(&app), ["n.1"]);
    locker.batch_execute("ROLLBACK").unwrap();
    held.flush().unwrap();
    assert_eq!(stored(&app), names(2));
}
