use audit_diesel::testing::TestAudit;
use audit_diesel::{AuditError, Auditor, GuardMode, MemoryQueue, audited};
use audit_tests::app::{NewAccount, accounts};
use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use diesel::r2d2::R2D2Connection;
use diesel::result::Error;

use super::app;
use crate::support::{Log, NO, add, assert_kept};

#[test]
fn attaching_twice_changes_nothing_also_inside_a_transaction() {
    let app = app();
    let conn = &mut app.pool.get().unwrap();
    app.auditor.attach(conn);
    conn.transaction::<_, Error, _>(|conn| {
        add!(conn, "ada");
        app.auditor.attach(conn);
        app.auditor.clone().attach(conn);
        Ok(())
    })
    .unwrap();
    assert_kept!(app, conn, ["ada"]);
}

/// As with r2d2's `TestCustomizer`, which opens a transaction before the auditor comes.
#[test]
fn attaching_inside_a_transaction_of_diesels_joins_it() {
    let app = app();
    let conn = &mut app.pool.get().unwrap();
    conn.set_instrumentation(Log::default());
    let _: Result<(), Error> = conn.transaction(|conn| {
        conn.transaction::<_, Error, _>(|conn| {
            app.auditor.attach(conn);
            add!(conn, "ada");
            Ok(())
        })?;
        assert_eq!(app.records(), []);
        let _: Result<(), Error> = conn.transaction(|conn| {
            add!(conn, "inner");
            Err(NO)
        });
        assert_eq!(app.auditor.pending(conn).unwrap().len(), 1);
        Err(NO)
    });
    assert_kept!(app, conn, []);
    conn.begin_test_transaction().unwrap();
    conn.set_instrumentation(Log::default());
    app.auditor.attach(conn);
    add!(conn, "in a test");
    assert_eq!(app.records(), []);
    assert!(!conn.is_broken());
}

#[test]
fn another_auditor_takes_over_without_losing_what_the_first_one_holds() {
    let app = app();
    let conn = &mut app.pool.get().unwrap();
    let other_queue = MemoryQueue::new();
    let other = Auditor::builder()
        .queue(other_queue.clone())
        .build()
        .unwrap();
    conn.transaction::<_, Error, _>(|conn| {
        add!(conn, "first");
        other.attach(conn);
        add!(conn, "second");
        Ok(())
    })
    .unwrap();
    assert_eq!(crate::support::added(&app.records()), ["first"]);
    assert_eq!(
        crate::support::added(&other_queue.records().unwrap()),
        ["second"]
    );
}

/// What it writes is no raw write to the first one's guard.
#[test]
fn another_auditor_takes_over_from_one_with_a_guard() {
    let app = app();
    let conn = &mut app.pool.get().unwrap();
    let guarded = || {
        let settings = Auditor::builder().guard(["accounts"]);
        TestAudit::of(settings.guard_mode(GuardMode::Panic))
    };
    let (first, second) = (guarded(), guarded());
    first.auditor().attach(conn);
    conn.transaction::<_, Error, _>(|conn| {
        add!(conn, "first");
        second.auditor().attach(conn);
        add!(conn, "second");
        Ok(())
    })
    .unwrap();
    assert_eq!(crate::support::added(&first.committed()), ["first"]);
    assert_eq!(crate::support::added(&second.committed()), ["second"]);
}

#[test]
fn a_later_instrumentation_removes_the_auditor_and_the_error_says_so() {
    let app = app();
    let conn = &mut app.pool.get().unwrap();
    conn.set_instrumentation(Log::default());
    let error = audited::insert_into(accounts::table)
        .values(NewAccount::new("ada"))
        .execute(conn)
        .unwrap_err();
    assert!(matches!(
        AuditError::of(&error),
        Some(AuditError::NoAuditor)
    ));
    assert!(error.to_string().contains("set_instrumentation"), "{error}");
    assert_kept!(app, conn, []);
}

#[test]
fn a_chained_instrumentation_sees_every_event() {
    let app = app();
    let conn = &mut app.pool.get().unwrap();
    let log = Log::default();
    conn.set_instrumentation(Log::default());
    app.auditor
        .attach_chained(conn, Some(Box::new(log.clone())));
    conn.transaction::<_, Error, _>(|conn| {
        add!(conn, "ada");
        diesel::sql_query("SELECT 1").execute(conn)?;
        Ok(())
    })
    .unwrap();
    for event in [
        "BeginTransaction",
        "INSERT INTO",
        "SELECT 1",
        "CommitTransaction",
        "COMMIT",
    ] {
        assert!(log.has(event), "{event}");
    }
    assert_kept!(app, conn, ["ada"]);
}

/// A raw transaction that a request forgot is still open for the next one, which commits it.
#[test]
fn a_pooled_connection_with_a_forgotten_raw_transaction() {
    let app = app();
    let first = app.pool.get().unwrap();
    let (mut first, pool) = (first, &app.pool);
    first.batch_execute("BEGIN").unwrap();
    add!(&mut first, "forgotten");
    drop(first);
    let conn = &mut pool.get().unwrap();
    assert_eq!(app.records(), []);
    conn.batch_execute("ROLLBACK").unwrap();
    add!(conn, "next");
    assert_kept!(app, conn, ["next"]);
}

#[test]
fn a_connection_with_an_open_transaction_is_discarded_with_its_records() {
    use diesel::connection::TransactionManager;
    type Manager = <super::Conn as Connection>::TransactionManager;
    let app = app();
    let mut conn = app.pool.get().unwrap();
    <Manager as TransactionManager<super::Conn>>::begin_transaction(&mut conn).unwrap();
    add!(&mut conn, "abandoned");
    drop(conn);
    assert_eq!(app.pool.state().connections, 0);
    assert_eq!(app.auditor.stats().discarded, 1);
    let conn = &mut app.pool.get().unwrap();
    conn.transaction::<_, Error, _>(|conn| {
        add!(conn, "next");
        Ok(())
    })
    .unwrap();
    assert_kept!(app, conn, ["next"]);
}
