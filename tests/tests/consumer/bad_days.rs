//! PostgreSQL's table refuses every record, by whatever somebody did to it: none is convicted.

use audit_diesel::{Actor, AuditContext, Consumer, MemoryQueue, Payload, Queue, Record};
use audit_tests::app::postgres::{App, app};
use diesel::connection::SimpleConnection;
use diesel::prelude::*;

use crate::on_postgres::helpers::*;

/// What was done to the table, what mends it, and what is said meanwhile.
const BAD_DAYS: [(&str, &str, &str); 11] = [
    (
        "ALTER TABLE audit_logs ADD COLUMN tenant text NOT NULL DEFAULT 'x';
         ALTER TABLE audit_logs ALTER COLUMN tenant DROP DEFAULT",
        "ALTER TABLE audit_logs DROP COLUMN tenant",
        "\"tenant\"",
    ),
    (
        "ALTER TABLE audit_logs ADD CONSTRAINT theirs CHECK (stored_at < '2020-01-01') NOT VALID",
        "ALTER TABLE audit_logs DROP CONSTRAINT theirs",
        "\"theirs\"",
    ),
    (
        "ALTER TABLE audit_logs ADD CONSTRAINT theirs
             CHECK (jsonb_typeof(changes) = 'array') NOT VALID",
        "ALTER TABLE audit_logs DROP CONSTRAINT theirs",
        "\"theirs\"",
    ),
    (
        "ALTER TABLE audit_logs ADD CONSTRAINT theirs CHECK (changes IS NULL) NOT VALID",
        "ALTER TABLE audit_logs DROP CONSTRAINT theirs",
        "\"theirs\"",
    ),
    (
        "ALTER TABLE audit_logs ADD CONSTRAINT theirs CHECK (octet_length(digest) = 20) NOT VALID",
        "ALTER TABLE audit_logs DROP CONSTRAINT theirs",
        "\"theirs\"",
    ),
    (
        "CREATE TABLE IF NOT EXISTS tenants (id text PRIMARY KEY);
         ALTER TABLE audit_logs ADD COLUMN tenant text NOT NULL DEFAULT 'x';
         ALTER TABLE audit_logs ADD CONSTRAINT theirs
             FOREIGN KEY (tenant) REFERENCES tenants NOT VALID",
        "ALTER TABLE audit_logs DROP COLUMN tenant",
        "\"theirs\"",
    ),
    // What is looked at in COMMIT only refuses as well.
    (
        "CREATE TABLE IF NOT EXISTS tenants (id text PRIMARY KEY);
         ALTER TABLE audit_logs ADD COLUMN tenant text NOT NULL DEFAULT 'x';
         ALTER TABLE audit_logs ADD CONSTRAINT theirs
             FOREIGN KEY (tenant) REFERENCES tenants DEFERRABLE INITIALLY DEFERRED NOT VALID",
        "ALTER TABLE audit_logs DROP COLUMN tenant",
        "\"theirs\"",
    ),
    (
        "CREATE OR REPLACE FUNCTION never() RETURNS trigger LANGUAGE plpgsql AS
             'BEGIN RAISE EXCEPTION ''closed today''; END';
         CREATE CONSTRAINT TRIGGER never AFTER INSERT ON audit_logs
             DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION never()",
        "DROP TRIGGER never ON audit_logs",
        "closed today",
    ),
    (
        "ALTER TABLE audit_logs ALTER COLUMN transaction_seq TYPE text,
             ALTER COLUMN changes TYPE bytea USING NULL",
        "ALTER TABLE audit_logs ALTER COLUMN transaction_seq TYPE integer USING NULL,
             ALTER COLUMN changes TYPE jsonb USING NULL",
        "\"changes\"",
    ),
    (
        "ALTER TABLE audit_logs DROP COLUMN stored_at, ADD COLUMN stored_at text NOT NULL DEFAULT '';
         ALTER TABLE audit_logs ALTER COLUMN stored_at DROP DEFAULT",
        "ALTER TABLE audit_logs DROP COLUMN stored_at,
             ADD COLUMN stored_at timestamptz NOT NULL DEFAULT clock_timestamp()",
        "\"stored_at\"",
    ),
    (
        PARTITIONED_UNTIL_2020,
        "CREATE TABLE audit_logs_now PARTITION OF audit_logs FOR VALUES FROM ('2020-01-01') TO (MAXVALUE)",
        "no partition",
    ),
];

const PARTITIONED_UNTIL_2020: &str = "
    ALTER TABLE audit_logs RENAME TO before;
    CREATE TABLE audit_logs (LIKE before INCLUDING DEFAULTS, PRIMARY KEY (id, occurred_at))
        PARTITION BY RANGE (occurred_at);
    CREATE TABLE audit_logs_past PARTITION OF audit_logs FOR VALUES FROM (MINVALUE) TO ('2020-01-01');
    UPDATE before SET occurred_at = '2019-01-01';
    INSERT INTO audit_logs SELECT * FROM before";

/// A record as applications make them: of a row or of an event, with and without a context.
fn record(n: usize) -> Record {
    let context = match n % 2 {
        0 => AuditContext::new(Actor::user("42")).organization("acme"),
        _ => AuditContext::default(),
    };
    let mut record = Record::new(format!("n.{n}"), context);
    record.resource_type = Some("users".to_owned());
    record.resource_id = Some(n.to_string());
    record.changes = serde_json::from_str(r#"{"role":{"old":"a","new":"b"}}"#).ok();
    if n.is_multiple_of(3) {
        record.extra.insert("note".to_owned(), "x".into());
    }
    record
}

fn ordinary(count: usize) -> Vec<Payload> {
    (0..count).map(|n| record(n).encode().unwrap()).collect()
}

/// What the trail may hold on a bad day: nothing, or rows of which the latest are of one kind or of
/// another.
const TRAILS: [fn() -> Vec<Payload>; 3] = [
    Vec::new,
    || [events(), ordinary(10)].concat(),
    || [ordinary(10), events()].concat(),
];

fn events() -> Vec<Payload> {
    (0..10).map(|n| payload(&format!("event.{n}"))).collect()
}

fn sql(app: &App, sql: &str) {
    app.guard.connection().batch_execute(sql).unwrap();
}

/// Breaks the table, and checks that all is stored once that is mended, and nothing quarantined.
fn waits_for_mending(
    app: &App,
    (consumer, queue): (&Consumer, &MemoryQueue),
    (broken, mended, said): (&str, &str, &str),
) {
    let before = stored_names(app);
    sql(app, broken);
    queue.push(&ordinary(20)).unwrap();
    fails(consumer, "refuses every row");
    let error = consumer.stats().last_error.unwrap_or_default();
    assert!(error.contains(said), "{broken}: {error}");
    assert_eq!(queue.len().unwrap(), 20, "{broken}");
    sql(app, mended);
    consumer.flush().unwrap();
    assert_eq!(stored_names(app)[before.len()..], names(20), "{broken}");
    assert!(quarantined(app).is_empty(), "{broken}");
}

/// As [`stored`], whatever the other columns are at the moment.
fn stored_names(app: &App) -> Vec<String> {
    use audit_diesel::postgres::audit_logs;
    let names = audit_logs::table.select(audit_logs::action);
    let names = names.order(audit_logs::id);
    names.load(&mut app.guard.connection()).unwrap()
}

/// A trail with these records, and its consumer.
fn filled(trail: &[Payload]) -> (App, Consumer, MemoryQueue) {
    let (app, queue) = (app(), MemoryQueue::new());
    let consumer = consumer(&app, queue.clone());
    queue.push(trail).unwrap();
    consumer.flush().unwrap();
    (app, consumer, queue)
}

#[test]
fn whatever_makes_the_table_refuse_everything_convicts_no_record() {
    for trail in TRAILS {
        let (app, consumer, queue) = filled(&[]);
        for bad_day in BAD_DAYS {
            queue.push(&trail()).unwrap();
            consumer.flush().unwrap();
            waits_for_mending(&app, (&consumer, &queue), bad_day);
            if trail().is_empty() {
                sql(&app, "DELETE FROM audit_logs");
            }
        }
    }
}

/// The columns that a record fills, with their types.
const COLUMNS: [(&str, &str); 16] = [
    ("action", "text"),
    ("resource_type", "text"),
    ("resource_id", "text"),
    ("outcome", "text"),
    ("actor_type", "text"),
    ("actor_id", "text"),
    ("organization", "text"),
    ("project", "text"),
    ("request_id", "text"),
    ("ip", "text"),
    ("source", "text"),
    ("api_key_id", "text"),
    ("transaction_id", "uuid"),
    ("changes", "jsonb"),
    ("extra", "jsonb"),
    ("digest", "bytea"),
];

/// A value of the old rows that fits by chance says nothing about new ones.
#[test]
fn a_column_of_another_type_or_none_convicts_no_record() {
    for trail in &TRAILS[1..] {
        let (app, consumer, queue) = filled(&[]);
        for (column, declared) in COLUMNS {
            queue.push(&trail()).unwrap();
            consumer.flush().unwrap();
            if column != "action" {
                let dropped = format!("ALTER TABLE audit_logs DROP COLUMN {column}");
                let mended = format!(
                    "ALTER TABLE audit_logs ADD COLUMN {column} {declared};
                     UPDATE audit_logs SET outcome = 'success' WHERE outcome IS NULL"
                );
                waits_for_mending(
                    &app,
                    (&consumer, &queue),
                    (&dropped, &mended, &format!("\"{column}\"")),
                );
            }
            let changed = format!(
                "ALTER TABLE audit_logs ALTER COLUMN {column} TYPE point USING '(1,1)'::point"
            );
            let mended = format!(
                "ALTER TABLE audit_logs ALTER COLUMN {column} DROP NOT NULL,
                     ALTER COLUMN {column} TYPE {declared} USING NULL;
                 UPDATE audit_logs SET outcome = 'success' WHERE outcome IS NULL;
                 UPDATE audit_logs SET action = 'old' WHERE action IS NULL"
            );
            waits_for_mending(
                &app,
                (&consumer, &queue),
                (&changed, &mended, &format!("\"{column}\"")),
            );
        }
    }
}

/// What is looked at in COMMIT only refuses the record that it is about, and no other one.
#[test]
fn a_constraint_that_is_deferred_holds_nobody_up() {
    let of_trigger = "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS
             'BEGIN RAISE EXCEPTION ''refused in the end''; END';
         CREATE CONSTRAINT TRIGGER theirs AFTER INSERT ON audit_logs
             DEFERRABLE INITIALLY DEFERRED FOR EACH ROW
             WHEN (NEW.action LIKE 'bad%') EXECUTE FUNCTION refuse()";
    let of_key = "CREATE TABLE kinds (action text PRIMARY KEY);
         INSERT INTO kinds SELECT 'n.' || n FROM generate_series(0, 30) AS n;
         ALTER TABLE audit_logs ADD CONSTRAINT theirs FOREIGN KEY (action) REFERENCES kinds
             DEFERRABLE INITIALLY DEFERRED NOT VALID";
    for (constraint, said) in [(of_trigger, "refused in the end"), (of_key, "theirs")] {
        let (app, consumer, queue) = filled(&[]);
        sql(&app, constraint);
        let mut all = payloads(20);
        all.insert(7, payload("bad"));
        queue.push(&all).unwrap();
        consumer.flush().unwrap();
        assert_eq!(stored(&app), names(20));
        let held = quarantined(&app);
        assert_eq!(held.len(), 1);
        assert!(held[0].reason.contains(said), "{}", held[0].reason);
        assert_eq!(consumer.stats().stored, 20);
    }
}

#[test]
fn a_quarantine_whose_constraint_is_deferred_is_said_to_refuse() {
    let (app, consumer, queue) = filled(&[]);
    let (broken, mended, said) = BAD_DAYS[7];
    let on_quarantine = |text: &str| text.replace("audit_logs", "audit_quarantine");
    sql(&app, &on_quarantine(broken));
    queue.push(&[Payload::from(b"?".to_vec())]).unwrap();
    fails(&consumer, "`audit_quarantine` refuses every row");
    assert!(
        consumer
            .stats()
            .last_error
            .unwrap_or_default()
            .contains(said)
    );
    sql(&app, &on_quarantine(mended));
    consumer.flush().unwrap();
    assert_eq!(quarantined(&app).len(), 1);
}

/// No partition is made for the year 9999, or for a clock that began in 1970.
#[test]
fn a_time_that_no_partition_is_for_is_quarantined_and_a_missing_partition_of_now_is_waited_for() {
    let (app, consumer, queue) = filled(&[]);
    sql(
        &app,
        "ALTER TABLE audit_logs RENAME TO before;
         CREATE TABLE audit_logs (LIKE before INCLUDING DEFAULTS, PRIMARY KEY (id, occurred_at))
             PARTITION BY RANGE (occurred_at);
         DO $$ BEGIN EXECUTE format('CREATE TABLE audit_logs_now PARTITION OF audit_logs
             FOR VALUES FROM (%L) TO (%L)', now() - interval '40 days', now() + interval '40 days'); END $$",
    );
    let at = |name: &str, occurred_at: i64| {
        let mut record = Record::new(name, AuditContext::default());
        record.occurred_at = occurred_at;
        record.encode().unwrap()
    };
    let odd = || [at("odd", 253_370_764_800_000_000), at("odd", 7)];
    queue.push(&[&payloads(10)[..], &odd()].concat()).unwrap();
    consumer.flush().unwrap();
    assert_eq!(stored(&app), names(10));
    let held = quarantined(&app);
    assert_eq!(held.len(), 2);
    assert!(
        held[0].reason.contains("no partition"),
        "{}",
        held[0].reason
    );
    sql(&app, "DROP TABLE audit_logs_now");
    queue.push(&[&odd()[..], &payloads(10)].concat()).unwrap();
    let before = consumer.stats().outages;
    audit_tests::wait_until("two failures", audit_tests::LONG, || {
        let _ = consumer.flush_within(std::time::Duration::from_millis(10));
        consumer.stats().outages >= before + 2
    });
    assert_eq!(quarantined(&app).len(), 2);
    sql(
        &app,
        "CREATE TABLE audit_logs_now PARTITION OF audit_logs DEFAULT",
    );
    consumer.flush().unwrap();
    assert_eq!(stored(&app).len(), 12);
    assert_eq!(quarantined(&app).len(), 2);
}

/// COPY would write jsonb's binary form into it, and nobody would say anything.
#[test]
fn a_column_that_became_text_gets_text() {
    for (column, declared) in [
        ("changes", "jsonb"),
        ("extra", "jsonb"),
        ("digest", "bytea"),
    ] {
        let (app, consumer, queue) = filled(&[]);
        let change = |to: &str| {
            let to = format!("ALTER TABLE audit_logs ALTER COLUMN {column} TYPE {to}");
            sql(&app, &to);
        };
        change("text");
        let all = ordinary(20);
        for _ in 0..2 {
            queue.push(&all).unwrap();
            consumer.flush().unwrap();
        }
        change(&format!("{declared} USING {column}::{declared}"));
        queue.push(&all).unwrap();
        consumer.flush().unwrap();
        assert_eq!(stored(&app), names(20));
        let stats = consumer.stats();
        assert_eq!(
            (stats.duplicates, stats.quarantined),
            (40, 0),
            "{column}: {stats:?}"
        );
    }
}

/// What came before midnight has its partition, and what comes after has none.
#[test]
fn a_partition_that_is_missing_since_midnight_convicts_no_record() {
    let app = app();
    let (queue, midnight) = (
        MemoryQueue::new(),
        chrono::Utc::now() - chrono::TimeDelta::hours(1),
    );
    let broken = PARTITIONED_UNTIL_2020.replace("2020-01-01", &midnight.to_rfc3339());
    sql(&app, &broken);
    let midnight = midnight.timestamp_micros();
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
