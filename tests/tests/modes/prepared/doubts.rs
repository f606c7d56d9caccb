//! The connection is lost around COMMIT.

use std::thread;

use audit_diesel::{Auditor, Delivery};
use audit_tests::{PostgresServer, TestDatabase, wait_until};
use diesel::connection::SimpleConnection;
use diesel::dsl::sql;
use diesel::prelude::*;
use diesel::r2d2::{ConnectionManager, Pool};
use diesel::result::Error;
use diesel::sql_types::BigInt;

use super::setup::{
    Conn, HANG_IN_COMMIT, LONG, Setup, app_on, backend_of, emails, holds, insert, quarantined,
    recorded, terminate,
};

#[test]
fn before_commit() {
    let setup = Setup::new();
    let auditor = setup.auditor();
    let mut conn = setup.connection(&auditor);
    let lost = conn.transaction::<_, Error, _>(|conn| {
        insert(conn, "ada")?;
        let backend = backend_of(conn);
        terminate(&mut setup.app.guard.connection(), backend);
        Ok(())
    });
    assert!(lost.is_err());
    drop(conn);
    setup.assert_trail(&auditor, &[]);
}

/// The connection stays open without its recorder, and commits.
#[test]
fn the_recorder_is_taken_away() {
    let setup = Setup::new();
    let auditor = setup.auditor();
    let mut conn = setup.connection(&auditor);
    for (email, end) in [("kept", "COMMIT"), ("gone", "ROLLBACK")] {
        auditor.attach(&mut conn);
        conn.batch_execute("BEGIN").unwrap();
        insert(&mut conn, email).unwrap();
        conn.set_instrumentation(|_: diesel::connection::InstrumentationEvent<'_>| ());
        conn.batch_execute(end).unwrap();
    }
    setup.assert_trail(&auditor, &["kept"]);
}

/// Nobody has seen the end of its transaction.
fn leave_committed(setup: &Setup, auditor: &Auditor) {
    let mut conn = setup.connection(auditor);
    conn.batch_execute("BEGIN").unwrap();
    insert(&mut conn, "ada").unwrap();
    conn.set_instrumentation(|_: diesel::connection::InstrumentationEvent<'_>| ());
    conn.batch_execute("COMMIT").unwrap();
}

#[test]
fn a_shutdown_settles_what_nobody_saw_the_end_of() {
    let setup = Setup::new();
    let auditor = setup.auditor();
    leave_committed(&setup, &auditor);
    auditor.shutdown(LONG).unwrap();
    assert_eq!(setup.prepared(), 0);
    setup.assert_trail(&auditor, &["ada"]);
}

#[test]
fn a_shutdown_names_what_it_could_not_settle() {
    let setup = Setup::new();
    let nowhere = ConnectionManager::<PgConnection>::new("postgres://127.0.0.1:1/nowhere");
    let auditor = Auditor::builder()
        .journal(setup.journal_path())
        .confirm_in(Pool::builder().max_size(1).build_unchecked(nowhere))
        .delivery(Delivery::Prepared)
        .build()
        .unwrap();
    leave_committed(&setup, &auditor);
    let soon = std::time::Duration::from_millis(300);
    let left = auditor.shutdown(soon).unwrap_err();
    assert_eq!((left.unsettled, left.in_journal, left.in_memory), (1, 0, 0));
    assert!(left.to_string().contains("1 transactions"), "{left}");
    drop(auditor);
    setup.assert_trail(&setup.auditor(), &["ada"]);
}

fn commit_and_lose(setup: &Setup, conn: &mut Conn) {
    let backend = backend_of(conn);
    thread::scope(|threads| {
        let committing = threads.spawn(move || conn.transaction(|conn| insert(conn, "ada")));
        let admin = &mut setup.app.guard.connection();
        let hangs = format!(
            "EXISTS (SELECT FROM pg_stat_activity WHERE pid = {backend} AND query = 'COMMIT'
             AND state = 'active' AND wait_event IN ('advisory', 'SyncRep'))"
        );
        wait_until("it waits in COMMIT", LONG, || holds(admin, &hangs));
        assert_eq!(setup.prepared(), 1);
        terminate(admin, backend);
        assert!(committing.join().unwrap().is_err());
    });
}

#[test]
fn during_commit_and_rolled_back() {
    let setup = Setup::new();
    let auditor = setup.auditor();
    let mut conn = setup.connection(&auditor);
    conn.batch_execute(HANG_IN_COMMIT).unwrap();
    let mut holder = setup.app.guard.connection();
    holder.batch_execute("SELECT pg_advisory_lock(1)").unwrap();
    commit_and_lose(&setup, &mut conn);
    setup.assert_trail(&auditor, &[]);
}

/// The server waits for a standby that does not exist: the transaction is committed, and nobody
/// says so.
#[test]
fn during_commit_and_committed() {
    let mut server = PostgresServer::start();
    let setup = Setup::of(app_on(TestDatabase::on(&server.url())));
    server.answer_no_commit();
    let auditor = setup.auditor();
    let mut conn = setup.connection(&auditor);
    conn.batch_execute("SET synchronous_commit = on").unwrap();
    commit_and_lose(&setup, &mut conn);
    setup.assert_trail(&auditor, &["ada"]);
}

/// The whole server is killed, and forgets an id that was not on disk. It gives it again, to a
/// transaction that commits.
#[test]
fn the_server_is_killed() {
    killed_server(false);
    // PostgreSQL may write the id to disk before it is killed, and so know it.
    assert!((0..20).any(|_| killed_server(true)));
}

/// False where the id was not given again.
fn killed_server(given_again: bool) -> bool {
    let mut server = PostgresServer::start();
    let setup = Setup::of(app_on(TestDatabase::on(&server.url())));
    let mut admin = setup.app.guard.connection();
    admin
        .batch_execute("ALTER SYSTEM SET wal_writer_delay = '10s'")
        .unwrap();
    admin.batch_execute("SELECT pg_reload_conf()").unwrap();
    let auditor = setup.auditor();
    let mut conn = setup.connection(&auditor);
    wait_until("the setting is in force", LONG, || {
        holds(&mut conn, "current_setting('wal_writer_delay') = '10s'")
    });
    insert(&mut conn, "kept").unwrap();
    conn.batch_execute("BEGIN").unwrap();
    insert(&mut conn, "open").unwrap();
    let id = sql::<BigInt>("txid_current()");
    let id: i64 = diesel::select(id).get_result(&mut conn).unwrap();
    server.kill9();
    conn.batch_execute("COMMIT").unwrap_err();
    drop((conn, auditor));
    assert_eq!(setup.prepared(), 1);
    server.restart();
    let mut admin = setup.app.guard.connection();
    let mut next = if given_again { 0 } else { id };
    while next != id {
        next = diesel::select(sql::<BigInt>("txid_current()"))
            .get_result(&mut admin)
            .unwrap();
        if next > id {
            return false;
        }
    }
    let auditor = setup.auditor();
    setup.wait_until_settled();
    setup.consume(&auditor);
    assert_eq!(emails(&mut admin), ["kept"]);
    assert_eq!(recorded(&mut admin), ["kept"]);
    let reasons = quarantined(&mut admin);
    assert!(
        reasons
            .iter()
            .all(|reason| reason.contains("crashed or was restored")),
        "{reasons:?}"
    );
    true
}
