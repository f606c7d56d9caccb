//! What PostgreSQL cannot tell is not guessed.

use audit_tests::wait_until;
use diesel::connection::{Connection, InstrumentationEvent, SimpleConnection};

use super::setup::{Conn, LONG, Setup, insert, quarantined, recorded};

/// A record in the journal's file whose process is gone, with what this SQL makes of it.
fn left_behind(setup: &Setup, change: &str) {
    let auditor = setup.auditor();
    let mut conn = setup.connection(&auditor);
    conn.batch_execute("BEGIN").unwrap();
    insert(&mut conn, "ada").unwrap();
    assert_eq!(setup.prepared(), 1);
    // Nobody settles it while it is changed.
    drop(auditor);
    let mut lock = setup.lock_journal();
    lock.batch_execute(change).unwrap();
    std::mem::forget(conn);
    lock.batch_execute("COMMIT").unwrap();
}

fn reasons(setup: &Setup) -> Vec<String> {
    let _auditor = setup.auditor();
    setup.wait_until_settled();
    let conn: &mut Conn = &mut setup.app.guard.connection();
    assert_eq!(recorded(conn), [""; 0]);
    quarantined(conn)
}

#[test]
fn an_id_that_was_not_given_out() {
    let setup = Setup::new();
    left_behind(
        &setup,
        "UPDATE audit_journal_prepared SET xid = xid + 1000000000",
    );
    let reasons = reasons(&setup);
    assert_eq!(reasons.len(), 1);
    assert!(
        reasons[0].contains("too old, or the server crashed or was restored"),
        "{}",
        reasons[0]
    );
}

/// PostgreSQL forgets what became of a transaction once no row needs that any more: it says NULL.
#[test]
fn an_id_that_is_too_old() {
    let setup = Setup::new();
    // Forgotten since the server was made.
    let admin = &mut setup.app.guard.connection();
    assert!(super::setup::holds(admin, "txid_status(5) IS NULL"));
    left_behind(&setup, "UPDATE audit_journal_prepared SET xid = 5");
    let reasons = reasons(&setup);
    assert_eq!(reasons.len(), 1);
    assert!(
        reasons[0].contains("whether transaction 5 was committed: its id is too old"),
        "{}",
        reasons[0]
    );
}

/// The transaction was committed, and nobody knows about the part that a savepoint began.
#[test]
fn a_part_that_is_too_old() {
    let setup = Setup::new();
    let auditor = setup.auditor();
    let mut conn = setup.connection(&auditor);
    conn.batch_execute("BEGIN; SAVEPOINT a").unwrap();
    insert(&mut conn, "ada").unwrap();
    drop(auditor);
    let mut lock = setup.lock_journal();
    lock.batch_execute("UPDATE audit_journal_prepared SET writer = 5")
        .unwrap();
    // The connection's own auditor is gone, so that the COMMIT is not noted.
    conn.set_instrumentation(None::<fn(InstrumentationEvent<'_>)>);
    conn.batch_execute("COMMIT").unwrap();
    lock.batch_execute("COMMIT").unwrap();
    let reasons = reasons(&setup);
    assert_eq!(reasons.len(), 1);
    assert!(
        reasons[0].contains("a part of it, 5, was rolled back to a savepoint"),
        "{}",
        reasons[0]
    );
}

#[test]
fn another_server() {
    let setup = Setup::new();
    left_behind(
        &setup,
        "UPDATE audit_journal_prepared SET origin = '1/00000001', prepared_at = 0",
    );
    let reasons = reasons(&setup);
    assert!(
        reasons[0].contains("another PostgreSQL server or timeline (1/00000001)"),
        "{}",
        reasons[0]
    );
}

/// More than one statement of PostgreSQL takes.
#[test]
fn a_large_transaction_of_another_server() {
    const MORE: usize = 25_000;
    let setup = Setup::new();
    let change = format!(
        "WITH RECURSIVE numbers (n) AS (VALUES (1) UNION ALL SELECT n + 1 FROM numbers WHERE n < {MORE})
         INSERT INTO audit_journal_prepared
         SELECT txn, n, xid, writer, origin, prepared_at, CAST(CAST(payload AS TEXT) || n AS BLOB)
         FROM audit_journal_prepared JOIN numbers;
         UPDATE audit_journal_prepared SET origin = '1/00000001', prepared_at = 0"
    );
    left_behind(&setup, &change);
    assert_eq!(reasons(&setup).len(), MORE + 1);
}

/// It may be the transaction of another application, and run there.
#[test]
fn another_server_gets_time() {
    let setup = Setup::new();
    left_behind(
        &setup,
        "UPDATE audit_journal_prepared SET origin = '1/00000001'",
    );
    setup.leave_rolled_back("marker");
    let _auditor = setup.auditor();
    wait_until("it has looked", LONG, || setup.prepared_for("marker") == 0);
    assert_eq!(setup.prepared_for("ada"), 1);
}

/// A database that is away is no reason to give up.
#[test]
fn a_server_that_is_away_is_waited_for() {
    let mut server = audit_tests::PostgresServer::start();
    let database = audit_tests::TestDatabase::on(&server.url());
    let setup = Setup::of(super::setup::app_on(database));
    let auditor = setup.auditor();
    let mut conn = setup.connection(&auditor);
    conn.batch_execute("BEGIN").unwrap();
    insert(&mut conn, "ada").unwrap();
    server.stop();
    conn.batch_execute("COMMIT").unwrap_err();
    wait_until("the journal is still there", LONG, || setup.prepared() == 1);
    server.restart();
    setup.assert_trail(&auditor, &[]);
}
