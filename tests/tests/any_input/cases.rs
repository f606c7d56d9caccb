use audit_diesel::{AuditContext, AuditEvent, AuditLog, Auditor, Consumer, Delivery, audited};
use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use proptest::prelude::*;

use super::trail::{audit_logs, audit_quarantine, by_actor, history, in_organization_since};
use super::{App, Conn, app, row_text, unaudited};
use crate::input::{self, Thing, things};

pub(super) fn after_commit(app: &App) -> Auditor {
    app.auditor.clone()
}

pub(super) fn transactional(_: &App) -> Auditor {
    Auditor::builder()
        .delivery(Delivery::Transactional)
        .build()
        .unwrap()
}

fn start(mode: &dyn Fn(&App) -> Auditor) -> (App, Auditor) {
    let app = app();
    let auditor = mode(&app);
    let conn = &mut app.pool.get().unwrap();
    conn.batch_execute(
        "CREATE TABLE things (id text NOT NULL PRIMARY KEY, note text NOT NULL, doc text NOT NULL)",
    )
    .unwrap();
    (app, auditor)
}

/// Inserts, updates and deletes a row and records an event, all in this context.
fn act(
    conn: &mut Conn,
    auditor: &Auditor,
    context: &AuditContext,
    thing: &Thing,
    event: AuditEvent,
) {
    context.scope(|| {
        audited::insert_into(things::table)
            .values(thing)
            .execute(conn)
            .unwrap();
        audited::update(things::table.find(&thing.id))
            .set(things::note.eq("another note"))
            .execute(conn)
            .unwrap();
        audited::delete(things::table.find(&thing.id))
            .execute(conn)
            .unwrap();
        auditor.record_in(conn, event).unwrap();
    });
}

/// Whatever was sent, each action is in the table, and is found by what was sent.
fn check(
    app: &App,
    auditor: &Auditor,
    context: &AuditContext,
    mut thing: Thing,
    event: AuditEvent,
) {
    thing.id = row_text(&thing.id);
    thing.note = row_text(&thing.note);
    let conn = &mut app.pool.get().unwrap();
    // The guard lets nobody do so on an audited connection.
    unaudited(app)
        .batch_execute("DELETE FROM things; DELETE FROM audit_logs")
        .unwrap();
    auditor.attach(conn);
    act(conn, auditor, context, &thing, event);
    if auditor.queue().len().is_ok() {
        let consumer = Consumer::builder(auditor.queue(), app.pool.clone())
            .spawn()
            .unwrap();
        consumer.flush().unwrap();
        consumer.stop().unwrap();
    }
    let refused: Vec<String> = audit_quarantine::table
        .select(audit_quarantine::reason)
        .load(conn)
        .unwrap();
    assert_eq!(refused, [""; 0]);
    let rows: Vec<AuditLog> = audit_logs::table
        .select(AuditLog::as_select())
        .load(conn)
        .unwrap();
    let found: Vec<AuditLog> = history("things", &thing.id).load(conn).unwrap();
    let actions: Vec<_> = found.iter().map(|row| &*row.action).collect();
    assert_eq!(actions, ["insert", "update", "delete"]);
    assert_eq!(rows.len(), 4, "and the event");
    let actor = context.actor_ref().unwrap();
    if !actor.is_unknown() {
        assert_eq!(by_actor(actor).load::<AuditLog>(conn).unwrap().len(), 4);
    }
    let organization = context.organization_ref().unwrap();
    let in_it: Vec<AuditLog> = in_organization_since(organization, Default::default())
        .load(conn)
        .unwrap();
    assert_eq!(in_it.len(), 4);
}

pub(super) fn any_input_ends_in_the_trail(mode: &dyn Fn(&App) -> Auditor) {
    let (app, auditor) = start(mode);
    // What was told of first: depth beside a value that is too large for a record.
    let deep = format!("{}1{}", "[".repeat(126), "]".repeat(126));
    let thing = Thing {
        id: "large".to_owned(),
        note: "n".to_owned(),
        doc: format!("\"{}\"", "0123456789".repeat(120_000)),
    };
    let deep = serde_json::from_str::<serde_json::Value>(&deep).unwrap();
    let context = AuditContext::new(audit_diesel::Actor::user("x".repeat(25_000)))
        .organization("a\0b")
        .with("deep", deep);
    check(
        &app,
        &auditor,
        &context,
        thing,
        AuditEvent::new("login.failed"),
    );
    let config = ProptestConfig {
        cases: 16,
        failure_persistence: None,
        max_shrink_iters: 200,
        ..ProptestConfig::default()
    };
    proptest!(config, |(context in input::context(), thing in input::thing(), event in input::event())| {
        check(&app, &auditor, &context, thing, event);
    });
}
