use std::sync::Arc;
use std::time::Duration;

use audit_diesel::{
    Actor, AuditContext, AuditEvent, AuditLog, Consumer, Outcome, Queue, Record, Source, audited,
};
use audit_tests::app::{Account, NewAccount, accounts};
use chrono::{DateTime, Utc};
use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use serde_json::json;

use super::trail::{audit_logs, by_actor, history, in_organization_since};
use super::{App, app};

fn store(app: &App, records: &[Record]) {
    let payloads: Vec<_> = records.iter().map(|r| r.encode().unwrap()).collect();
    app.queue.push(&payloads).unwrap();
    consume(app);
}

fn consume(app: &App) {
    let consumer = Consumer::builder(Arc::new(app.queue.clone()), app.pool.clone());
    consumer.spawn().unwrap().flush().unwrap();
}

fn at(micros: i64) -> DateTime<Utc> {
    DateTime::from_timestamp_micros(micros).unwrap()
}

fn ids(rows: Vec<AuditLog>) -> Vec<i64> {
    rows.iter()
        .map(|row| row.occurred_at.timestamp_micros())
        .collect()
}

/// A record of one second after another, counted from some day in 2026.
const DAY: i64 = 1_780_000_000_000_000;

fn record(micros: i64, actor: Actor, organization: &str, resource: (&str, &str)) -> Record {
    let context = AuditContext::new(actor).organization(organization);
    let event = AuditEvent::new("test").resource(resource.0, resource.1);
    let mut record = Record::from_event(event, context);
    record.occurred_at = DAY + micros;
    record
}

#[test]
fn everything_that_a_record_says_arrives() {
    let app = app();
    let context = AuditContext::new(Actor::user("42"))
        .organization("acme")
        .project("p1")
        .ip("2001:db8::7".parse::<std::net::IpAddr>().unwrap())
        .source(Source::Api)
        .api_key_id("k9")
        .oauth_client_id("c3")
        .request_id("r1")
        .with("endpoint", "/v1/users/:id");
    let event = AuditEvent::new("login.failed")
        .resource("users", "ada")
        .outcome(Outcome::Failure)
        .with("attempt", 3);
    let mut record = Record::from_event(event, context);
    record.occurred_at = DAY + 123_457;
    record.transaction = Some(audit_diesel::TransactionRef {
        id: uuid::Uuid::now_v7(),
        seq: 7,
    });
    store(&app, std::slice::from_ref(&record));
    let conn = &mut app.pool.get().unwrap();
    let row = audit_logs::table
        .select(AuditLog::as_select())
        .first(conn)
        .unwrap();
    assert_eq!(row.id, record.id);
    assert_eq!(row.occurred_at, at(DAY + 123_457));
    let age = Utc::now().signed_duration_since(row.stored_at).abs();
    assert!(age < chrono::TimeDelta::minutes(1), "{}", row.stored_at);
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    assert_eq!((&*row.action, &*row.outcome), ("login.failed", "failure"));
    assert_eq!(
        (text(&row.resource_type), text(&row.resource_id)),
        ("users".into(), "ada".into())
    );
    assert_eq!(
        (text(&row.actor_type), text(&row.actor_id)),
        ("user".into(), "42".into())
    );
    assert_eq!(
        (text(&row.organization), text(&row.project)),
        ("acme".into(), "p1".into())
    );
    assert_eq!(
        (text(&row.request_id), text(&row.ip)),
        ("r1".into(), "2001:db8::7".into())
    );
    assert_eq!(
        (text(&row.source), text(&row.api_key_id)),
        ("api".into(), "k9".into())
    );
    assert_eq!(text(&row.oauth_client_id), "c3");
    assert_eq!(row.transaction_id, record.transaction.map(|t| t.id));
    assert_eq!(row.transaction_seq, Some(7));
    assert_eq!(row.changes, None);
    assert_eq!(
        row.extra,
        Some(json!({"endpoint": "/v1/users/:id", "attempt": 3}))
    );
}

#[test]
fn what_a_statement_changed_arrives() {
    let app = app();
    let conn = &mut app.pool.get().unwrap();
    AuditContext::new(Actor::user("42")).scope(|| {
        let ada: Account = audited::insert_into(accounts::table)
            .values(NewAccount::new("ada"))
            .get_result(conn)
            .unwrap();
        audited::update(&ada)
            .set(accounts::role.eq("admin"))
            .execute(conn)
            .unwrap();
    });
    consume(&app);
    let rows = history("accounts", 1).load(conn).unwrap();
    assert_eq!(rows.len(), 2);
    assert_eq!(
        rows[1].changes,
        Some(json!({"role": {"old": "member", "new": "admin"}}))
    );
    assert_eq!(rows[1].actor_id.as_deref(), Some("42"));
}

#[test]
fn the_three_questions_give_their_rows_in_order() {
    let app = app();
    let (ada, bob) = (Actor::user("ada"), Actor::user("bob"));
    let records = [
        record(3, ada.clone(), "acme", ("users", "1")),
        record(1, bob.clone(), "acme", ("users", "1")),
        record(2, ada.clone(), "other", ("users", "1")),
        record(4, Actor::new("job", "ada"), "acme", ("users", "2")),
        record(5, ada.clone(), "acme", ("teams", "1")),
    ];
    store(&app, &records);
    let conn = &mut app.pool.get().unwrap();
    let day = |micros: &[i64]| micros.iter().map(|m| DAY + m).collect::<Vec<_>>();
    assert_eq!(
        ids(history("users", 1).load(conn).unwrap()),
        day(&[1, 2, 3])
    );
    assert_eq!(ids(by_actor(&ada).load(conn).unwrap()), day(&[5, 3, 2]));
    assert_eq!(ids(by_actor(&bob).load(conn).unwrap()), day(&[1]));
    let since = in_organization_since("acme", at(DAY + 3));
    assert_eq!(ids(since.load(conn).unwrap()), day(&[3, 4, 5]));
    // More can be said about each.
    let last = by_actor(&ada)
        .filter(audit_logs::organization.eq("acme"))
        .limit(1);
    assert_eq!(ids(last.load(conn).unwrap()), day(&[5]));
}

#[test]
fn records_of_one_microsecond_stay_in_their_order() {
    let app = app();
    let records: Vec<_> = (0..50)
        .map(|_| record(1, Actor::user("ada"), "acme", ("users", "1")))
        .collect();
    store(&app, &records);
    let conn = &mut app.pool.get().unwrap();
    let rows = history("users", 1).load(conn).unwrap();
    let (rows, made): (Vec<_>, Vec<_>) = rows
        .iter()
        .zip(&records)
        .map(|(row, record)| (row.id, record.id))
        .unzip();
    assert_eq!(rows, made);
}

#[test]
fn it_is_an_ordinary_model() {
    let app = app();
    let conn = &mut app.pool.get().unwrap();
    for email in ["ada", "bob"] {
        audited::insert_into(accounts::table)
            .values(NewAccount::new(email))
            .execute(conn)
            .unwrap();
    }
    consume(&app);
    // In SQL: Diesel's `allow_tables_to_appear_in_same_query!` writes impls for both tables, which
    // the orphan rule forbids where one is another crate's.
    let joined: Vec<Joined> = diesel::sql_query(
        "SELECT accounts.email, audit_logs.action FROM accounts
         JOIN audit_logs ON audit_logs.resource_type = 'accounts'
         AND audit_logs.resource_id = CAST(accounts.id AS text) ORDER BY accounts.id",
    )
    .load(conn)
    .unwrap();
    let emails: Vec<_> = joined
        .iter()
        .map(|row| (&*row.email, &*row.action))
        .collect();
    assert_eq!(emails, [("ada", "insert"), ("bob", "insert")]);
}

#[derive(QueryableByName)]
struct Joined {
    #[diesel(sql_type = diesel::sql_types::Text)]
    email: String,
    #[diesel(sql_type = diesel::sql_types::Text)]
    action: String,
}

#[test]
fn json_that_rust_cannot_read_does_not_hide_the_trail() {
    let app = app();
    let conn = &mut app.pool.get().unwrap();
    conn.batch_execute(
        r#"INSERT INTO audit_logs (id, occurred_at, action, outcome, changes) VALUES
           ('018f0000-0000-7000-8000-000000000000', '2026-01-01 00:00:00+00:00', 'a', 'success',
            '{"n":{"new":1e400}}'),
           ('018f0000-0000-7000-8000-000000000001', '2026-01-01 00:00:00+00:00', 'b', 'success',
            '{"n":{"new":1}}')"#,
    )
    .unwrap();
    let rows = audit_logs::table
        .select(AuditLog::as_select())
        .order(audit_logs::id)
        .load(conn)
        .unwrap();
    let text = rows[0]
        .changes
        .as_ref()
        .and_then(|json| json.as_str())
        .unwrap();
    assert!(text.contains("1e400") || text.contains("10000"), "{text}");
    assert_eq!(rows[1].changes, Some(json!({"n": {"new": 1}})));
    let waited = Duration::from_secs(3_600);
    assert!(
        rows[0].stored_at > Utc::now() - waited,
        "the database's own clock"
    );
}
