use audit_diesel::{
    Actor, AuditContext, AuditError, AuditEvent, Auditor, Consumer, MemoryQueue, Outcome, audited,
};
use audit_tests::app::{NewAccount, accounts};
use diesel::connection::SimpleConnection;
use diesel::dsl::sql;
use diesel::prelude::*;
use diesel::result::Error;
use diesel::sql_types::Text;
use serde_json::json;

use super::{Conn, app};

const NO: Error = Error::RollbackTransaction;

fn insert(conn: &mut Conn, email: &str) -> QueryResult<usize> {
    audited::insert_into(accounts::table)
        .values(NewAccount::new(email))
        .execute(conn)
}

#[test]
fn an_event_is_recorded_at_once_also_inside_a_transaction() {
    let app = app();
    let conn = &mut app.pool.get().unwrap();
    let _: Result<(), Error> = conn.transaction(|_| {
        let event = AuditEvent::new("login.failed")
            .resource("users", 7)
            .outcome(Outcome::Failure)
            .with("tried", json!({"names": ["ada", null], "times": 3}));
        app.auditor.record(event).unwrap();
        assert_eq!(app.records().len(), 1);
        Err(NO)
    });
    let record = &app.records()[0];
    assert_eq!(record.action, "login.failed");
    assert_eq!(record.resource_type.as_deref(), Some("users"));
    assert_eq!(record.resource_id.as_deref(), Some("7"));
    assert_eq!(record.outcome, Outcome::Failure);
    assert_eq!(
        record.extra["tried"],
        json!({"names": ["ada", null], "times": 3})
    );
    assert_eq!(record.transaction, None);
}

#[test]
fn an_event_with_a_transaction_shares_its_fate_its_id_and_its_order() {
    let app = app();
    let conn = &mut app.pool.get().unwrap();
    let run = |conn: &mut Conn, end: Result<(), Error>| {
        conn.transaction(|conn| {
            app.auditor
                .record_in(conn, AuditEvent::new("first"))
                .unwrap();
            insert(conn, "ada")?;
            app.auditor
                .record_in(conn, AuditEvent::new("last"))
                .unwrap();
            end
        })
    };
    run(conn, Err(NO)).unwrap_err();
    assert_eq!(app.records(), []);
    run(conn, Ok(())).unwrap();
    let records = app.records();
    let actions: Vec<_> = records.iter().map(|r| r.action.as_str()).collect();
    assert_eq!(actions, ["first", "insert", "last"]);
    let refs: Vec<_> = records.iter().map(|r| r.transaction.unwrap()).collect();
    assert_eq!(refs.iter().map(|r| r.seq).collect::<Vec<_>>(), [0, 1, 2]);
    assert!(refs.iter().all(|r| r.id == refs[0].id));
    app.auditor
        .record_in(conn, AuditEvent::new("alone"))
        .unwrap();
    assert_eq!(app.records().len(), 4);
}

#[test]
fn an_event_in_a_savepoint_that_is_rolled_back() {
    let app = app();
    let conn = &mut app.pool.get().unwrap();
    conn.transaction::<_, Error, _>(|conn| {
        app.auditor
            .record_in(conn, AuditEvent::new("kept"))
            .unwrap();
        let _: Result<(), Error> = conn.transaction(|conn| {
            app.auditor
                .record_in(conn, AuditEvent::new("gone"))
                .unwrap();
            Err(NO)
        });
        Ok(())
    })
    .unwrap();
    assert_eq!(app.records().len(), 1);
}

#[test]
fn an_event_after_a_swallowed_failure_shares_the_fate_of_the_transaction() {
    let app = app();
    let conn = &mut app.pool.get().unwrap();
    let _ = conn.transaction::<_, Error, _>(|conn| {
        insert(conn, "ada")?;
        let _ = conn.batch_execute("SELECT * FROM nowhere");
        app.auditor
            .record_in(conn, AuditEvent::new("event"))
            .unwrap();
        Ok(())
    });
    let kept: i64 = accounts::table.count().get_result(conn).unwrap();
    let mut records = app.records();
    // PostgreSQL is asked about those in doubt, and has rolled back.
    records.retain(|record| record.unsettled.is_none());
    assert_eq!(records.len() as i64, kept * 2);
}

#[test]
fn an_event_that_is_too_large_is_recorded_with_sizes_in_place_of_its_details() {
    let app = app();
    let conn = &mut app.pool.get().unwrap();
    let queue = MemoryQueue::new().max_payload_bytes(1_000);
    let auditor = Auditor::builder()
        .queue(queue.clone())
        .max_record_bytes(1_000)
        .build()
        .unwrap();
    auditor.attach(conn);
    let large = || AuditEvent::new("import").with("file", "x".repeat(2_000));
    auditor.record(large()).unwrap();
    auditor.record_in(conn, large()).unwrap();
    conn.transaction::<_, Error, _>(|conn| {
        insert(conn, "ada")?;
        auditor.record_in(conn, large()).unwrap();
        for length in 700..1_000 {
            let event = AuditEvent::new("edge").with("file", "x".repeat(length));
            auditor.record_in(conn, event).unwrap();
        }
        Ok(())
    })
    .unwrap();
    let records = queue.records().unwrap();
    assert_eq!(records.len(), 304);
    let sizes = records
        .iter()
        .filter_map(|r| r.extra.get("file")?.get("omitted_bytes"));
    assert!(sizes.count() > 3);
    let stats = auditor.stats();
    assert_eq!((stats.published, stats.failed), (304, 0), "{stats:?}");
}

#[test]
fn a_connection_without_this_auditor_is_refused() {
    let app = app();
    let conn = &mut app.pool.get().unwrap();
    let other = Auditor::builder()
        .queue(MemoryQueue::new())
        .build()
        .unwrap();
    let error = other.record_in(conn, AuditEvent::new("x")).unwrap_err();
    assert!(matches!(error, AuditError::NoAuditor));
}

#[test]
fn the_events_extra_wins_in_the_stored_row_only() {
    let app = app();
    let context = AuditContext::new(Actor::user("1"))
        .with("key", "context")
        .with("page", 3);
    context.scope(|| {
        app.auditor
            .record(AuditEvent::new("x").with("key", "event"))
            .unwrap()
    });
    let record = &app.records()[0];
    assert_eq!(record.extra["key"], "event");
    assert_eq!(record.context.extra()["key"], "context");
    let consumer = Consumer::builder(app.auditor.queue(), app.pool.clone())
        .spawn()
        .unwrap();
    consumer.flush().unwrap();
    let extra = sql::<Text>("CAST(extra AS TEXT) FROM audit_logs");
    let stored: String = diesel::select(extra)
        .get_result(&mut app.pool.get().unwrap())
        .unwrap();
    let stored: serde_json::Value = serde_json::from_str(&stored).unwrap();
    assert_eq!(stored, json!({"key": "event", "page": 3}));
}
