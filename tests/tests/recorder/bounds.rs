use audit_diesel::{AuditError, AuditEvent, Auditor, MemoryQueue, audited};
use audit_tests::app::{NewAccount, accounts};
use diesel::prelude::*;
use diesel::result::Error;

use super::app;
use crate::support::{Log, Refusing, added};

fn try_add(conn: &mut super::Conn, emails: &[&str]) -> QueryResult<usize> {
    let rows: Vec<_> = emails.iter().map(|email| NewAccount::new(email)).collect();
    let mut done = 0;
    for row in rows {
        done += audited::insert_into(accounts::table)
            .values(row)
            .execute(conn)?;
    }
    Ok(done)
}

fn is_too_large(error: &Error) -> bool {
    matches!(
        AuditError::of(error),
        Some(AuditError::TransactionTooLarge { .. })
    )
}

#[test]
fn a_transaction_that_is_too_large_is_refused_and_what_it_kept_is_recorded() {
    let app = app();
    let conn = &mut app.pool.get().unwrap();
    let queue = MemoryQueue::new();
    let auditor = Auditor::builder()
        .queue(queue.clone())
        .max_transaction_bytes(1_000)
        .build()
        .unwrap();
    auditor.attach(conn);
    conn.transaction::<_, Error, _>(|conn| {
        assert!(is_too_large(
            &try_add(conn, &["a", "b", "c", "d"]).unwrap_err()
        ));
        let refused = try_add(conn, &["refused before it writes"]).unwrap_err();
        assert!(is_too_large(&refused));
        // Room comes back with a rollback to a savepoint only: the errors were swallowed.
        Ok(())
    })
    .unwrap();
    let kept: Vec<String> = accounts::table
        .select(accounts::email)
        .order(accounts::id)
        .load(conn)
        .unwrap();
    assert!(!kept.is_empty());
    assert_eq!(added(&queue.records().unwrap()), kept);
    try_add(conn, &["there is room again"]).unwrap();
}

#[test]
fn an_oversized_record_keeps_its_fields_with_their_sizes() {
    let app = app();
    let conn = &mut app.pool.get().unwrap();
    let queue = MemoryQueue::new().max_payload_bytes(2_100);
    let auditor = Auditor::builder()
        .queue(queue.clone())
        .max_record_bytes(2_000)
        .build()
        .unwrap();
    auditor.attach(conn);
    let note = "n".repeat(5_000);
    let context = audit_diesel::AuditContext::default().with("page", "p".repeat(5_000));
    conn.transaction::<_, Error, _>(|conn| {
        try_add(conn, &["small"])?;
        context.scope(|| {
            audited::update(accounts::table)
                .set((accounts::note.eq(&note), accounts::role.eq("admin")))
                .execute(conn)
        })
    })
    .unwrap();
    let records = queue.records().unwrap();
    assert_eq!(records.len(), 2);
    let json = records[1].changes.as_ref().unwrap().as_json();
    assert!(json.contains(r#""note":{"omitted_bytes":50"#), "{json}");
    assert!(
        json.contains(r#""role":{"old":"member","new":"admin"}"#),
        "{json}"
    );
    assert_eq!(records[1].context.extra()["page"]["omitted_bytes"], 5_002);
    assert_eq!(auditor.stats().oversized, 1);
    assert_eq!(auditor.stats().failed, 0);
}

#[test]
fn a_payload_that_the_queue_finds_too_large_loses_its_values_and_takes_nothing_along() {
    let app = app();
    let conn = &mut app.pool.get().unwrap();
    let queue = MemoryQueue::new().max_payload_bytes(1_000);
    let auditor = Auditor::builder().queue(queue.clone()).build().unwrap();
    auditor.attach(conn);
    let long = "x".repeat(2_000);
    conn.transaction(|conn| try_add(conn, &["before", &long, "after"]))
        .unwrap();
    let records = queue.records().unwrap();
    assert_eq!(records.len(), 3);
    let shrunk = records[1].changes.as_ref().unwrap().as_json();
    assert!(shrunk.contains(r#""email":{"omitted_bytes":"#), "{shrunk}");
    let stats = auditor.stats();
    assert_eq!((stats.published, stats.failed, stats.oversized), (3, 0, 1));
}

#[test]
fn a_queue_that_fails_does_not_fail_the_commit() {
    let app = app();
    let conn = &mut app.pool.get().unwrap();
    let auditor = Auditor::builder()
        .queue(Refusing(MemoryQueue::new()))
        .build()
        .unwrap();
    auditor.attach(conn);
    conn.transaction(|conn| try_add(conn, &["a", "b"])).unwrap();
    try_add(conn, &["c"]).unwrap();
    assert_eq!(auditor.stats().failed, 3);
    assert_eq!(auditor.stats().published, 0);
    assert_eq!(accounts::table.count().get_result::<i64>(conn).unwrap(), 3);
    // An event is the caller's own wish: there the error is told.
    assert!(matches!(
        auditor.record(AuditEvent::new("x")),
        Err(AuditError::Queue(_))
    ));
}

#[test]
fn statements_without_an_actor_are_counted_once() {
    let app = app();
    let conn = &mut app.pool.get().unwrap();
    try_add(conn, &["a", "b"]).unwrap();
    assert_eq!(app.auditor.stats().without_actor, 2);
    conn.set_instrumentation(Log::default());
    try_add(conn, &["c"]).unwrap_err();
    assert_eq!(app.auditor.stats().without_actor, 2);
}
