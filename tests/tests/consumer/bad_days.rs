//! PostgreSQL's table refuses every record, by whatever somebody did to it: none is convicted.

use audit_diesel::{Actor, AuditContext, MemoryQueue, Payload, Queue, Record};
use audit_tests::app::postgres::{App, app};
use diesel::connection::SimpleConnection;

use crate::on_postgres::helpers::*;

/// What was done to the table, and what mends it.
const BAD_DAYS: [(&str, &str); 8] = [
    (
        "ALTER TABLE audit_logs ADD COLUMN tenant text NOT NULL",
        "ALTER TABLE audit_logs DROP COLUMN tenant",
    ),
    (
        "ALTER TABLE audit_logs ADD CONSTRAINT theirs CHECK (stored_at < '2020-01-01')",
        "ALTER TABLE audit_logs DROP CONSTRAINT theirs",
    ),
    (
        "ALTER TABLE audit_logs ADD CONSTRAINT theirs CHECK (jsonb_typeof(changes) = 'array')",
        "ALTER TABLE audit_logs DROP CONSTRAINT theirs",
    ),
    (
        "CREATE TABLE tenants (id text PRIMARY KEY);
         ALTER TABLE audit_logs ADD COLUMN tenant text NOT NULL DEFAULT 'x' REFERENCES tenants",
        "ALTER TABLE audit_logs DROP COLUMN tenant",
    ),
    (
        "ALTER TABLE audit_logs DROP COLUMN ip",
        "ALTER TABLE audit_logs ADD COLUMN ip text",
    ),
    (
        "ALTER TABLE audit_logs ALTER COLUMN organization TYPE integer USING NULL",
        "ALTER TABLE audit_logs ALTER COLUMN organization TYPE text",
    ),
    (
        "ALTER TABLE audit_logs ALTER COLUMN transaction_seq TYPE text, ALTER COLUMN changes TYPE bytea USING NULL",
        "ALTER TABLE audit_logs ALTER COLUMN transaction_seq TYPE integer USING NULL,
             ALTER COLUMN changes TYPE jsonb USING NULL",
    ),
    (
        "ALTER TABLE audit_logs RENAME TO before;
         CREATE TABLE audit_logs (LIKE before INCLUDING DEFAULTS, PRIMARY KEY (id, occurred_at))
             PARTITION BY RANGE (occurred_at);
         CREATE TABLE audit_logs_past PARTITION OF audit_logs FOR VALUES FROM (MINVALUE) TO ('2020-01-01')",
        "CREATE TABLE audit_logs_now PARTITION OF audit_logs FOR VALUES FROM ('2020-01-01') TO (MAXVALUE)",
    ),
];

/// Records as applications make them: of rows and of events, with and without a context.
fn ordinary(count: usize) -> Vec<Payload> {
    let record = |n: usize| {
        let context = AuditContext::new(Actor::user("42")).organization("acme");
        let mut record = match n % 2 {
            0 => Record::new(format!("n.{n}"), context),
            _ => Record::new(format!("n.{n}"), AuditContext::default()),
        };
        record.resource_type = Some("users".to_owned());
        record.resource_id = Some(n.to_string());
        record.changes = serde_json::from_str(r#"{"role":{"old":"a","new":"b"}}"#).ok();
        record.encode().unwrap()
    };
    (0..count).map(record).collect()
}

fn sql(app: &App, sql: &str) {
    app.guard.connection().batch_execute(sql).unwrap();
}

#[test]
fn whatever_makes_the_table_refuse_everything_convicts_no_record() {
    for (broken, mended) in BAD_DAYS {
        let app = app();
        let queue = MemoryQueue::new();
        let consumer = consumer(&app, queue.clone());
        sql(&app, broken);
        queue.push(&ordinary(20)).unwrap();
        fails(&consumer, "");
        assert_eq!(queue.len().unwrap(), 20, "{broken}");
        sql(&app, mended);
        consumer.flush().unwrap();
        assert_eq!(stored(&app), names(20), "{broken}");
        assert!(quarantined(&app).is_empty(), "{broken}");
    }
}

/// COPY would write jsonb's binary form into it, and nobody would say anything.
#[test]
fn a_column_that_became_text_gets_text() {
    let app = app();
    let queue = MemoryQueue::new();
    let consumer = consumer(&app, queue.clone());
    sql(
        &app,
        "ALTER TABLE audit_logs ALTER COLUMN changes TYPE text",
    );
    queue.push(&ordinary(20)).unwrap();
    consumer.flush().unwrap();
    sql(
        &app,
        "ALTER TABLE audit_logs ALTER COLUMN changes TYPE jsonb USING changes::jsonb",
    );
    assert_eq!(stored(&app), names(20));
}

/// What came before midnight has its partition, and what comes after has none.
#[test]
fn a_partition_that_is_missing_since_midnight_convicts_no_record() {
    let app = app();
    let (queue, midnight) = (MemoryQueue::new(), 1_790_000_000_000_000);
    let (broken, _) = BAD_DAYS[7];
    sql(
        &app,
        &broken.replace("2020-01-01", "2026-09-21 14:13:20+00"),
    );
    let records: Vec<_> = (0..20)
        .map(|n| {
            let mut record = Record::new(format!("n.{n}"), AuditContext::default());
            record.occurred_at = midnight + (n - 10);
            record.encode().unwrap()
        })
        .collect();
    queue.push(&records).unwrap();
    // Twice, as a redelivery has to be told by its id on a table with this key as well.
    queue.push(&records).unwrap();
    let consumer = consumer(&app, queue.clone());
    fails(&consumer, "refuses every row");
    sql(
        &app,
        "CREATE TABLE audit_logs_now PARTITION OF audit_logs DEFAULT",
    );
    consumer.flush().unwrap();
    assert_eq!(stored(&app), names(20));
    assert!(quarantined(&app).is_empty());
}

/// Of a table that takes rows of certain organizations only, the others are refused.
#[test]
fn a_partition_that_is_missing_for_some_refuses_these_only() {
    let app = app();
    sql(
        &app,
        "ALTER TABLE audit_logs RENAME TO before;
         CREATE TABLE audit_logs (LIKE before INCLUDING DEFAULTS) PARTITION BY LIST (organization);
         CREATE TABLE audit_logs_acme PARTITION OF audit_logs FOR VALUES IN ('acme')",
    );
    let queue = MemoryQueue::new();
    queue.push(&ordinary(20)).unwrap();
    let consumer = consumer(&app, queue.clone());
    consumer.flush().unwrap();
    assert_eq!(stored(&app).len(), 10);
    let held = quarantined(&app);
    assert_eq!(held.len(), 10);
    assert!(
        held[0].reason.contains("no partition"),
        "{}",
        held[0].reason
    );
}

/// A trigger of the old way of partitioning moves the rows, which are in the table all the same.
#[test]
fn rows_that_a_trigger_moves_to_a_child_are_stored() {
    let app = app();
    sql(
        &app,
        "CREATE TABLE audit_logs_child (PRIMARY KEY (id)) INHERITS (audit_logs);
         CREATE FUNCTION route() RETURNS trigger LANGUAGE plpgsql AS
             'BEGIN INSERT INTO audit_logs_child VALUES (NEW.*); RETURN NULL; END';
         CREATE TRIGGER route BEFORE INSERT ON audit_logs FOR EACH ROW EXECUTE FUNCTION route();",
    );
    let queue = MemoryQueue::new();
    let consumer = consumer(&app, queue.clone());
    let all = ordinary(20);
    for _ in 0..2 {
        queue.push(&all).unwrap();
        consumer.flush().unwrap();
    }
    assert_eq!(stored(&app), names(20));
    assert!(quarantined(&app).is_empty());
}

/// Poison goes into quarantine, over the connections of a role that may only insert there.
#[test]
fn quarantining_needs_the_right_to_insert_only() {
    let app = app();
    let role = audit_tests::TestRole::new(&app.guard);
    sql(
        &app,
        &format!(
            "GRANT SELECT, INSERT ON audit_logs TO {0};
             GRANT INSERT ON audit_quarantine TO {0};
             CREATE FUNCTION end_it() RETURNS trigger LANGUAGE plpgsql AS
                 'BEGIN PERFORM pg_terminate_backend(pg_backend_pid()); RETURN NEW; END';
             CREATE TRIGGER end_it BEFORE INSERT ON audit_logs FOR EACH ROW
                 WHEN (NEW.action LIKE 'poison%') EXECUTE FUNCTION end_it();",
            role.name()
        ),
    );
    let queue = MemoryQueue::new();
    let builder = audit_diesel::Consumer::builder(
        std::sync::Arc::new(queue.clone()),
        audit_tests::pg_pool(&role.url()),
    );
    let consumer = builder.interval(NEVER).spawn().unwrap();
    let unreadable = Payload::from(b"?".to_vec());
    let all = [
        vec![unreadable.clone()],
        payloads(10),
        vec![payload("poison"), unreadable],
    ];
    for _ in 0..2 {
        queue.push(&all.concat()).unwrap();
        consumer.flush_within(audit_tests::LONG).unwrap();
    }
    assert_eq!(stored(&app), names(10));
    assert_eq!(quarantined(&app).len(), 2);
    let stats = consumer.stats();
    assert_eq!((stats.quarantined, stats.poison), (2, 1), "{stats:?}");
}
