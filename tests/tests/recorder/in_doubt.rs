//! The connection is lost around COMMIT: only PostgreSQL knows what became of the transaction, and
//! the consumer asks it.

use audit_diesel::{AuditEvent, Consumer, Queue, Unsettled, audited};
use audit_tests::app::postgres::{App, Conn, app, app_on};
use audit_tests::app::{NewAccount, accounts};
use audit_tests::{LONG, PostgresServer, TestDatabase, wait_until};
use diesel::connection::SimpleConnection;
use diesel::dsl::sql;
use diesel::prelude::*;
use diesel::r2d2::{ConnectionManager, PooledConnection};
use diesel::result::Error;
use diesel::sql_types::{BigInt, Bool, Integer, Text};
use std::time::Duration;

use crate::support::{add, added};

type Pooled = PooledConnection<ConnectionManager<Conn>>;

fn insert(conn: &mut Conn, email: &str) -> QueryResult<usize> {
    audited::insert_into(accounts::table)
        .values(NewAccount::new(email))
        .execute(conn)
}

fn backend_of(conn: &mut Conn) -> i32 {
    diesel::select(sql::<Integer>("pg_backend_pid()"))
        .get_result(conn)
        .unwrap()
}

fn terminate(app: &App, backend: i32) {
    let ask = sql::<Bool>("pg_terminate_backend(")
        .bind::<Integer, _>(backend)
        .sql(", 10000)");
    let ended: bool = diesel::select(ask)
        .get_result(&mut app.guard.connection())
        .unwrap();
    assert!(ended);
}

/// Waits until the backend hangs in its COMMIT.
fn wait_for_commit_of(app: &App, backend: i32) {
    let conn = &mut app.guard.connection();
    let hangs = format!(
        "EXISTS (SELECT FROM pg_stat_activity WHERE pid = {backend} AND query LIKE '%COMMIT'
         AND state = 'active' AND wait_event IN ('advisory', 'SyncRep'))"
    );
    wait_until("the backend waits in COMMIT", LONG, || {
        diesel::select(sql::<Bool>(&hangs))
            .get_result(conn)
            .unwrap()
    });
}

/// What the consumer stores of what is in the queue.
fn stored(app: &App) -> (Vec<String>, u64) {
    let consumer = Consumer::builder(app.auditor.queue(), app.pool.clone())
        .spawn()
        .unwrap();
    consumer.flush().unwrap();
    let stats = consumer.stats();
    assert_eq!(stats.quarantined, 0);
    consumer.stop().unwrap();
    let rows = sql::<Text>("action FROM audit_logs ORDER BY occurred_at, id");
    let rows = diesel::select(rows)
        .load(&mut app.guard.connection())
        .unwrap();
    (rows, stats.rolled_back)
}

#[test]
fn lost_before_commit() {
    let app = app();
    let mut conn = app.pool.get().unwrap();
    let lost = conn.transaction::<_, Error, _>(|conn| {
        insert(conn, "ada")?;
        let backend = backend_of(conn);
        terminate(&app, backend);
        Ok(())
    });
    assert!(lost.is_err());
    drop(conn);
    assert!(
        app.records()
            .iter()
            .all(|record| record.unsettled.is_some())
    );
    assert_eq!(stored(&app).0, [""; 0]);
}

#[test]
fn lost_before_commit_with_an_event_alone() {
    let app = app();
    let mut conn = app.pool.get().unwrap();
    let lost = conn.transaction::<_, Error, _>(|conn| {
        app.auditor
            .record_in(conn, AuditEvent::new("report.made"))
            .unwrap();
        let backend = backend_of(conn);
        terminate(&app, backend);
        Ok(())
    });
    assert!(lost.is_err());
    drop(conn);
    assert_eq!(stored(&app).0, [""; 0]);
}

#[test]
fn lost_before_a_statement() {
    let app = app();
    let mut conn = app.pool.get().unwrap();
    let backend = backend_of(&mut conn);
    let lost = conn.transaction(|conn| {
        insert(conn, "ada")?;
        terminate(&app, backend);
        insert(conn, "grace")
    });
    assert!(lost.is_err());
    drop(conn);
    assert_eq!(stored(&app).0, [""; 0]);
}

#[test]
fn lost_during_commit_and_rolled_back() {
    let app = app();
    let mut conn = app.pool.get().unwrap();
    conn.batch_execute(
        "CREATE FUNCTION hang() RETURNS trigger LANGUAGE plpgsql AS
             'BEGIN PERFORM pg_advisory_xact_lock(1); RETURN NULL; END';
         CREATE CONSTRAINT TRIGGER hang AFTER INSERT ON accounts
             DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION hang();",
    )
    .unwrap();
    let mut holder = app.guard.connection();
    holder.batch_execute("SELECT pg_advisory_lock(1)").unwrap();
    commit_and_lose(&app, conn, |conn| {
        conn.transaction(|conn| insert(conn, "ada"))
    });
    assert!(
        app.records()
            .iter()
            .all(|record| record.unsettled.is_some())
    );
    assert_eq!(app.records().len(), 1);
    assert_eq!(stored(&app), (vec![], 1));
}

#[test]
fn lost_during_commit_and_committed() {
    let mut server = PostgresServer::start();
    // A crash does this too, and was before the connection.
    Conn::establish(&server.url())
        .unwrap()
        .batch_execute("SELECT pg_stat_reset_shared('bgwriter')")
        .unwrap();
    let app = app_on(TestDatabase::on(&server.url()));
    let conn = without_answer_to_commit(&mut server, &app);
    commit_and_lose(&app, conn, |conn| {
        conn.transaction(|conn| insert(conn, "ada"))
    });
    let records = app.records();
    assert_eq!(added(&records), ["ada"]);
    let unsettled = records[0].unsettled.as_ref().unwrap();
    assert!(unsettled.origin.is_some(), "{unsettled:?}");
    assert_eq!(stored(&app), (vec!["insert".to_owned()], 0));
}

/// If there was a COMMIT, there was a rollback to the savepoint before.
#[test]
fn lost_during_a_batch_that_undoes_and_commits() {
    let mut server = PostgresServer::start();
    let app = app_on(TestDatabase::on(&server.url()));
    let conn = without_answer_to_commit(&mut server, &app);
    commit_and_lose(&app, conn, |conn| {
        conn.batch_execute("BEGIN")?;
        insert(conn, "ada")?;
        conn.batch_execute("SAVEPOINT a")?;
        insert(conn, "undone")?;
        conn.batch_execute("ROLLBACK TO a; COMMIT")
    });
    assert_eq!(added(&app.records()), ["ada"]);
    assert_eq!(stored(&app), (vec!["insert".to_owned()], 0));
}

fn without_answer_to_commit(server: &mut PostgresServer, app: &App) -> Pooled {
    server.answer_no_commit();
    let mut conn = app.pool.get().unwrap();
    conn.batch_execute("SET synchronous_commit = on").unwrap();
    conn
}

fn commit_and_lose<T: Send>(
    app: &App,
    mut conn: Pooled,
    run: impl FnOnce(&mut Conn) -> QueryResult<T> + Send,
) {
    let backend = backend_of(&mut conn);
    std::thread::scope(|threads| {
        let committing = threads.spawn(move || run(&mut conn));
        wait_for_commit_of(app, backend);
        terminate(app, backend);
        assert!(committing.join().unwrap().is_err());
    });
}

/// The server crashes in COMMIT and forgets the id, which was not on disk. It gives it again, to a
/// transaction that commits.
#[test]
fn lost_in_a_crash_and_the_id_given_again() {
    let (_server, app) = (0..20).find_map(|_| crashed()).expect("a crash in time");
    assert_eq!(added(&app.records()), ["ada"]);

    let consumer = Consumer::builder(app.auditor.queue(), app.pool.clone())
        .spawn()
        .unwrap();
    consumer.flush().unwrap();
    let stats = consumer.stats();
    assert_eq!((stats.stored, stats.quarantined), (0, 1), "{stats:?}");
    let reason = sql::<Text>("(SELECT reason FROM audit_quarantine)");
    let reason: String = diesel::select(reason)
        .get_result(&mut app.guard.connection())
        .unwrap();
    assert!(reason.contains("crashed"), "{reason}");
}

/// `None` where PostgreSQL had written the id to disk before it was killed, and so knows it.
fn crashed() -> Option<(PostgresServer, App)> {
    let mut server = PostgresServer::start();
    let app = app_on(TestDatabase::on(&server.url()));
    let mut conn = app.pool.get().unwrap();
    conn.batch_execute("ALTER SYSTEM SET wal_writer_delay = '10s'")
        .unwrap();
    conn.batch_execute("SELECT pg_reload_conf()").unwrap();
    wait_until("the setting is in force", LONG, || {
        let now = sql::<Bool>("current_setting('wal_writer_delay') = '10s'");
        diesel::select(now).get_result(&mut conn).unwrap()
    });
    conn.batch_execute("BEGIN").unwrap();
    insert(&mut conn, "ada").unwrap();
    let id = next_id(&mut conn);
    server.kill9();
    conn.batch_execute("COMMIT").unwrap_err();
    drop(conn);
    server.restart();
    let mut admin = app.guard.connection();
    let mut next = 0;
    while next < id {
        next = next_id(&mut admin);
    }
    drop(admin);
    (next == id).then_some((server, app))
}

/// The id of the open transaction, or of one that commits.
fn next_id(conn: &mut Conn) -> i64 {
    diesel::select(sql::<BigInt>("txid_current()"))
        .get_result(conn)
        .unwrap()
}

/// Each server gives ids of its own: what was rolled back here has the id of what was committed there.
#[test]
fn lost_with_the_trail_on_another_server() {
    let (here, there) = (PostgresServer::start(), PostgresServer::start());
    let app = app_on(TestDatabase::on(&here.url()));
    let trail = app_on(TestDatabase::on(&there.url()));
    let mut conn = app.pool.get().unwrap();
    let lost = conn.transaction(|conn| {
        insert(conn, "ada")?;
        let backend = backend_of(conn);
        terminate(&app, backend);
        QueryResult::Ok(())
    });
    assert!(lost.is_err());
    drop(conn);
    let id = app.records()[0].unsettled.as_ref().unwrap().xid;
    let mut conn = trail.guard.connection();
    while next_id(&mut conn) <= id {}

    let consumer = Consumer::builder(app.auditor.queue(), trail.pool.clone())
        .spawn()
        .unwrap();
    consumer.flush().unwrap();
    let stats = consumer.stats();
    assert_eq!(
        (stats.stored, stats.rolled_back, stats.quarantined),
        (0, 0, 1)
    );
}

/// A batch with a COMMIT in it fails, and nobody says whether before or after.
#[test]
fn a_failed_batch_with_a_commit() {
    let app = app();
    let mut conn = app.pool.get().unwrap();
    for batch in [
        "COMMIT; SELECT * FROM nowhere",
        "SELECT * FROM nowhere; COMMIT",
    ] {
        conn.batch_execute("BEGIN").unwrap();
        add!(&mut conn, batch);
        conn.batch_execute(batch).unwrap_err();
        conn.batch_execute("ROLLBACK").unwrap();
    }
    assert_eq!(stored(&app), (vec!["insert".to_owned()], 1));
}

#[test]
fn a_transaction_that_still_runs_is_waited_for() {
    let app = app();
    let mut conn = app.pool.get().unwrap();
    conn.batch_execute("BEGIN").unwrap();
    let xid = sql::<diesel::sql_types::BigInt>("txid_current()");
    let xid: i64 = diesel::select(xid).get_result(&mut conn).unwrap();
    app.auditor
        .record(AuditEvent::new("from a lost connection"))
        .unwrap();
    let batch = app.queue.peek(1).unwrap();
    app.queue.ack(&batch).unwrap();
    app.queue
        .push(&[batch.payloads[0].unsettled(&Unsettled { xid, origin: None })])
        .unwrap();
    let consumer = Consumer::builder(app.auditor.queue(), app.pool.clone())
        .interval(Duration::from_millis(50))
        .spawn()
        .unwrap();
    wait_until("the consumer looked twice", LONG, || {
        consumer.stats().batches > 1
    });
    assert_eq!(consumer.stats().stored, 0);
    conn.batch_execute("COMMIT").unwrap();
    wait_until("it is stored", LONG, || consumer.stats().stored == 1);
}
