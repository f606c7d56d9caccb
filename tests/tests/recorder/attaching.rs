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

fn another_auditor() -> (Auditor, MemoryQueue) {
    let queue = MemoryQueue::new();
    let auditor = Auditor::builder().queue(queue.clone()).build().unwrap();
    (auditor, queue)
}

fn added_to(queue: &MemoryQueue) -> Vec<String> {
    crate::support::added(&queue.records().unwrap())
}

#[test]
fn an_exempt_block_counts_each_statement_once_though_another_auditor_holds_records() {
    let app = app();
    let conn = &mut app.pool.get().unwrap();
    let (other, queue) = another_auditor();
    conn.transaction::<_, Error, _>(|conn| {
        add!(conn, "first");
        other.attach(conn);
        audit_diesel::exempt(conn, "backfill", |conn| {
            diesel::update(accounts::table)
                .set(accounts::role.eq("admin"))
                .execute(conn)
        })
        .map(drop)
    })
    .unwrap();
    let records = queue.records().unwrap();
    assert_eq!(records[0].extra["statements"], 1);
}

/// What the connection was asked once is not asked again for another auditor.
#[test]
fn an_auditor_that_takes_over_knows_what_the_connection_was_told() {
    let app = app();
    let conn = &mut app.pool.get().unwrap();
    let (other, _) = another_auditor();
    let log = Log::default();
    app.auditor
        .attach_chained(conn, Some(Box::new(log.clone())));
    let asked = || log.count("sql: \"SELECT kind FROM (") + log.count("SELECT c.relkind AS kind");
    add!(conn, "first");
    let before = asked();
    other.attach(conn);
    add!(conn, "second");
    assert_eq!(asked(), before, "{log:?}");
}

#[test]
fn what_is_chained_sees_every_event_though_another_auditor_holds_records() {
    let app = app();
    let conn = &mut app.pool.get().unwrap();
    let (other, queue) = another_auditor();
    let log = Log::default();
    conn.transaction::<_, Error, _>(|conn| {
        add!(conn, "first");
        other.attach_chained(conn, Some(Box::new(log.clone())));
        add!(conn, "second");
        Ok(())
    })
    .unwrap();
    assert!(log.has("INSERT INTO"));
    assert_eq!(log.count("CommitTransaction"), 1);
    add!(conn, "third");
    assert_eq!(
        log.count("StartQuery { query: Query { sql: \"INSERT INTO"),
        2,
        "{log:?}"
    );
    assert_eq!(added_to(&app.queue), ["first"]);
    assert_eq!(added_to(&queue), ["second", "third"]);
}

#[test]
fn attaching_again_keeps_what_was_chained_and_chaining_again_replaces_it() {
    let app = app();
    let conn = &mut app.pool.get().unwrap();
    let (first, second) = (Log::default(), Log::default());
    app.auditor
        .attach_chained(conn, Some(Box::new(first.clone())));
    app.auditor.attach(conn);
    conn.batch_execute("SELECT 1").unwrap();
    assert!(first.has("SELECT 1"));
    app.auditor
        .attach_chained(conn, Some(Box::new(second.clone())));
    conn.batch_execute("SELECT 2").unwrap();
    assert!(second.has("SELECT 2") && !first.has("SELECT 2"));
    app.auditor.attach_chained(conn, None);
    conn.batch_execute("SELECT 3").unwrap();
    assert!(!second.has("SELECT 3"));
    add!(conn, "ada");
    assert_kept!(app, conn, ["ada"]);
}

#[test]
fn another_auditor_keeps_what_was_chained() {
    let app = app();
    let conn = &mut app.pool.get().unwrap();
    let log = Log::default();
    app.auditor
        .attach_chained(conn, Some(Box::new(log.clone())));
    let (other, _) = another_auditor();
    conn.transaction::<_, Error, _>(|conn| {
        add!(conn, "first");
        other.attach(conn);
        add!(conn, "second");
        Ok(())
    })
    .unwrap();
    app.auditor.attach(conn);
    assert_eq!(log.count("BeginTransaction"), 1);
    assert_eq!(log.count("CommitTransaction"), 1);
    conn.batch_execute("SELECT 1").unwrap();
    assert!(log.has("SELECT 1"));
}

#[test]
fn records_wait_for_commit_though_several_auditors_come_and_go() {
    let app = app();
    let conn = &mut app.pool.get().unwrap();
    let ((second, of_second), (third, of_third)) = (another_auditor(), another_auditor());
    conn.transaction::<_, Error, _>(|conn| {
        add!(conn, "first");
        second.attach(conn);
        third.attach(conn);
        add!(conn, "third");
        app.auditor.attach(conn);
        add!(conn, "first again");
        let _: Result<(), Error> = conn.transaction(|conn| {
            add!(conn, "undone");
            second.attach(conn);
            add!(conn, "undone too");
            Err(NO)
        });
        add!(conn, "second");
        assert_eq!((app.records().len(), added_to(&of_third).len()), (0, 0));
        Ok(())
    })
    .unwrap();
    assert_eq!(added_to(&app.queue), ["first", "first again"]);
    assert_eq!(added_to(&of_second), ["second"]);
    assert_eq!(added_to(&of_third), ["third"]);
}

#[test]
fn another_auditor_takes_part_in_a_transaction_of_raw_sql() {
    let app = app();
    let conn = &mut app.pool.get().unwrap();
    let (other, queue) = another_auditor();
    conn.batch_execute("BEGIN").unwrap();
    add!(conn, "first");
    conn.batch_execute("SAVEPOINT here").unwrap();
    other.attach(conn);
    add!(conn, "undone");
    conn.batch_execute("ROLLBACK TO SAVEPOINT here").unwrap();
    add!(conn, "second");
    assert_eq!(added_to(&queue).len(), 0);
    conn.batch_execute("COMMIT").unwrap();
    assert_eq!(added_to(&app.queue), ["first"]);
    assert_eq!(added_to(&queue), ["second"]);
    conn.batch_execute("BEGIN").unwrap();
    app.auditor.attach(conn);
    add!(conn, "rolled back");
    conn.batch_execute("ROLLBACK").unwrap();
    assert_eq!(added_to(&app.queue), ["first"]);
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
