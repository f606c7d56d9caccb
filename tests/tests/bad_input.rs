//! Wrong settings are told clearly and without secrets; records that the table cannot hold are
//! quarantined with the reason. Nothing is lost on the way: each test counts.

use std::sync::Arc;
use std::time::Duration;

use audit_diesel::postgres::{audit_logs, audit_quarantine};
use audit_diesel::{
    Actor, AuditContext, AuditEvent, AuditLog, Auditor, ConfigError, Consumer, ConsumerError,
    Journal, MemoryQueue, Payload, QuarantinedRecord, Queue, QueueError, Record, RedisQueue,
};
use audit_tests::app::postgres::{App, app};
use audit_tests::{RedisServer, TestRedis, flush_fails};
use diesel::PgConnection;
use diesel::prelude::*;
use diesel::r2d2::{ConnectionManager, Pool};

const PASSWORD: &str = "s3cr3t-w0rd";

fn assert_discreet(said: &(impl std::fmt::Debug + std::fmt::Display)) {
    let all = format!("{said} {said:?}");
    assert!(!all.contains("s3cr3t") && !all.contains("w0rd"), "{all}");
}

/// What a consumer says to a pool of this URL, at its start.
fn spawn_error(url: &str) -> ConsumerError {
    let pool = Pool::builder()
        .max_size(1)
        .min_idle(Some(0))
        .connection_timeout(Duration::from_secs(10))
        .build_unchecked(ConnectionManager::<PgConnection>::new(url));
    let queue = Arc::new(MemoryQueue::new());
    Consumer::builder(queue, pool).spawn().unwrap_err()
}

#[test]
fn a_database_url_that_leads_nowhere_is_told_without_the_password() {
    let urls = [
        (
            format!("postgres://ada:{PASSWORD}@127.0.0.1:1/db"),
            "refused",
        ),
        (format!("postgres://ada:{PASSWORD}@[::1/db"), "URI"),
        ("postgres://ada:s3cr3t/w0rd@127.0.0.1/db".to_owned(), "…"),
        (
            format!("host=127.0.0.1 password=s3cr3t {PASSWORD}"),
            "connection info string",
        ),
        (
            format!("postgres://ada:{PASSWORD}@127.0.0.1/db?what=1"),
            "invalid URI",
        ),
    ];
    // The pool tries until its time-out.
    std::thread::scope(|scope| {
        for (url, words) in &urls {
            scope.spawn(move || {
                let error = spawn_error(url);
                assert!(
                    matches!(error, ConsumerError::NoConnection { .. }),
                    "{error:?}"
                );
                assert!(error.to_string().contains(words), "{words}: {error}");
                assert_discreet(&error);
            });
        }
    });
}

#[test]
fn a_database_that_does_not_exist_is_told() {
    let app = app();
    let url = app.guard.url().replace("audit_test_", "no_such_");
    let error = spawn_error(&url);
    assert!(error.to_string().contains("does not exist"), "{error}");
}

#[test]
fn a_wrong_redis_password_is_told_at_start() {
    let app = app();
    let server = RedisServer::start(&["--requirepass", "another"]);
    let folder = tempfile::tempdir().unwrap();
    let url = format!("redis://:{PASSWORD}@127.0.0.1:{}/", server.port());
    let with_journal = Auditor::builder()
        .redis(&url)
        .journal(folder.path().join("journal.db"))
        .build()
        .unwrap();
    let without = Auditor::builder()
        .redis(&url)
        .without_journal()
        .build()
        .unwrap();
    for auditor in [with_journal, without] {
        let error = Consumer::builder(auditor.queue(), app.pool.clone())
            .spawn()
            .unwrap_err();
        assert!(matches!(error, ConsumerError::Queue(_)), "{error:?}");
        assert!(error.to_string().contains("user or password"), "{error}");
        assert_discreet(&error);
    }
}

#[test]
fn an_unreachable_redis_is_waited_for() {
    let app = app();
    let mut server = RedisServer::start(&[]);
    let folder = tempfile::tempdir().unwrap();
    server.kill9();
    let auditor = Auditor::builder()
        .redis(server.url())
        .journal(folder.path().join("journal.db"))
        .build()
        .unwrap();
    let consumer = Consumer::builder(auditor.queue(), app.pool.clone())
        .spawn()
        .unwrap();
    auditor.record(AuditEvent::new("early")).unwrap();
    flush_fails(&consumer, "refused");
    server.restart();
    consumer.flush().unwrap();
    assert_eq!(stored(&app).len(), 1);
}

#[test]
fn a_malformed_redis_url_is_refused_without_showing_it() {
    for url in [
        format!("redis://:{PASSWORD}@"),
        format!("http://{PASSWORD}@127.0.0.1/"),
    ] {
        let error = Auditor::builder()
            .redis(url)
            .without_journal()
            .build()
            .unwrap_err();
        assert!(matches!(error, ConfigError::Queue(_)), "{error:?}");
        assert_discreet(&error);
    }
}

#[test]
fn something_else_at_the_redis_key_loses_nothing() {
    let (app, redis) = (app(), TestRedis::new());
    let set = |command: &str, value: &str| {
        let mut command = redis::cmd(command);
        command.arg(redis.key());
        if !value.is_empty() {
            command.arg(value);
        }
        command.exec(&mut redis.connection()).unwrap();
    };
    let queue = RedisQueue::builder(redis.url())
        .key(redis.key())
        .build()
        .unwrap();
    let folder = tempfile::tempdir().unwrap();
    let auditor = Auditor::builder()
        .redis_queue(queue)
        .journal(folder.path().join("journal.db"))
        .build()
        .unwrap();
    set("SET", "text");
    let error = Consumer::builder(auditor.queue(), app.pool.clone()).spawn();
    let error = error.unwrap_err();
    assert!(error.to_string().contains("no list"), "{error}");
    // While the consumer runs, it is an outage: somebody has to remove the key.
    set("DEL", "");
    let consumer = Consumer::builder(auditor.queue(), app.pool.clone())
        .spawn()
        .unwrap();
    set("SET", "text");
    auditor.record(AuditEvent::new("kept")).unwrap();
    flush_fails(&consumer, "no list");
    set("DEL", "");
    consumer.flush().unwrap();
    assert_eq!(stored(&app).len(), 1);
}

#[test]
fn a_journal_that_cannot_be_written_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let text = folder.path().join("text");
    std::fs::write(&text, "this is no database, it is a text of some length").unwrap();
    for (path, words) in [
        (folder.path().join("missing/journal.db"), "does not exist"),
        (folder.path().to_owned(), "folder"),
        ("".into(), "empty"),
        (text.clone(), "something else"),
        ("/proc/journal.db".into(), "cannot be written"),
    ] {
        let error = Auditor::builder().journal(path).build().unwrap_err();
        let wrong = matches!(error, ConfigError::Queue(QueueError::Misconfigured { .. }));
        assert!(wrong && error.to_string().contains(words), "{error}");
    }
    let left = std::fs::read_to_string(text).unwrap();
    assert!(left.starts_with("this is no database"));
}

#[test]
fn the_auditors_builder_refuses_what_would_lose_records() {
    let folder = tempfile::tempdir().unwrap();
    let redis = "redis://127.0.0.1/";
    let path = |name: &str| folder.path().join(name);
    let build = Auditor::builder;
    let error = build().build().unwrap_err();
    assert!(matches!(error, ConfigError::NoQueue), "{error}");
    let error = build().without_journal().build().unwrap_err();
    assert!(matches!(error, ConfigError::NoQueue), "{error}");
    let error = build().redis(redis).build().unwrap_err();
    assert!(matches!(error, ConfigError::NoJournal), "{error}");
    let both = build().redis(redis).journal(path("a")).without_journal();
    assert!(matches!(
        both.build().unwrap_err(),
        ConfigError::JournalAndNone
    ));
    let memory = || build().queue(MemoryQueue::new());
    for two in [memory().redis(redis), memory().journal(path("b"))] {
        assert!(matches!(two.build().unwrap_err(), ConfigError::TwoQueues));
    }
    for (zero, named) in [
        (memory().max_record_bytes(0), "max_record_bytes"),
        (memory().max_transaction_bytes(0), "max_transaction_bytes"),
    ] {
        match zero.build().unwrap_err() {
            ConfigError::Zero { setting } => assert_eq!(setting, named),
            other => panic!("{other}"),
        }
    }
    // Nothing that was refused has left a file behind.
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    Journal::builder(path("c")).open().unwrap();
}

fn stored(app: &App) -> Vec<AuditLog> {
    let rows = audit_logs::table
        .select(AuditLog::as_select())
        .order(audit_logs::id);
    rows.load(&mut app.pool.get().unwrap()).unwrap()
}

fn quarantined(app: &App) -> Vec<QuarantinedRecord> {
    let rows = audit_quarantine::table.select(QuarantinedRecord::as_select());
    rows.load(&mut app.pool.get().unwrap()).unwrap()
}

/// Stores payloads between two good ones, and gives back the reasons of the refused ones.
fn refusals(app: &App, payloads: &[Payload]) -> Vec<String> {
    let good = || {
        Record::new("good", AuditContext::default())
            .encode()
            .unwrap()
    };
    let queue = MemoryQueue::new();
    queue.push(&[good()]).unwrap();
    queue.push(payloads).unwrap();
    queue.push(&[good()]).unwrap();
    let consumer = Consumer::builder(Arc::new(queue), app.pool.clone())
        .spawn()
        .unwrap();
    consumer.flush().unwrap();
    let (rows, held) = (stored(app), quarantined(app));
    assert_eq!(rows.iter().filter(|row| row.action == "good").count(), 2);
    assert_eq!(
        rows.len() + held.len(),
        payloads.len() + 2,
        "all are somewhere"
    );
    assert_eq!(consumer.stats().outages, 0);
    payloads
        .iter()
        .filter_map(|payload| held.iter().find(|row| row.payload == payload.as_bytes()))
        .map(|row| row.reason.clone())
        .collect()
}

/// The JSON of a record with further fields.
fn with(fields: &str) -> Payload {
    let id = uuid::Uuid::now_v7();
    let text =
        format!(r#"{{"v":1,"id":"{id}","occurred_at":1780000000000000,"action":"a",{fields}}}"#);
    Payload::from(text.into_bytes())
}

#[test]
fn values_that_the_table_cannot_hold_are_quarantined() {
    let long: String = (0..5_000).map(|n| format!("{:x}", n * 7_919)).collect();
    let cases = [
        (
            with(r#""changes":{"f":{"new":"\u0000"}}"#),
            "Unicode escape",
        ),
        (with(r#""changes":{"f":{"new":1e400000}}"#), "numeric"),
        (with(r#""changes":{"f":{"new":"\ud800"}}"#), "json"),
        (with(r#""resource_type":"a\u0000b""#), "0x00"),
        (
            with(&format!(r#""resource_type":"t","resource_id":"{long}""#)),
            "index row",
        ),
        (with(r#""context":{"ip":"300.1.2.3"}"#), "IP"),
        (with(r#""extra":{"f":1e400000}"#), "number out of range"),
        (with(r#""outcome":"perhaps""#), "perhaps"),
    ];
    let app = app();
    let (payloads, words): (Vec<_>, Vec<_>) = cases.into_iter().unzip();
    let reasons = refusals(&app, &payloads);
    assert_eq!(reasons.len(), payloads.len());
    for (reason, words) in reasons.iter().zip(words) {
        assert!(reason.contains(words), "{reason} instead of {words}");
    }
}

#[test]
fn odd_values_that_the_table_can_hold_are_stored() {
    let large = "0123456789abcdef".repeat(10 << 16);
    let app = app();
    let payloads = [
        with(r#""changes":{"f":{"new":1e400}}"#),
        with(&format!(r#""changes":{{"f":{{"new":"{large}"}}}}"#)),
        with(r#""context":{"actor":{"type":"","id":""}}"#),
        with(r#""context":{"ip":"::ffff:1.2.3.4"},"unknown_field":{"of":["a","patch"]}"#),
        with(r#""resource_type":"","resource_id":"' OR 1=1 --""#),
    ];
    let reasons = refusals(&app, &payloads);
    assert_eq!(reasons, [""; 0]);
    let rows = stored(&app);
    let large_row = rows
        .iter()
        .filter_map(|row| row.changes.as_ref()?["f"]["new"].as_str());
    assert_eq!(large_row.map(str::len).collect::<Vec<_>>(), [large.len()]);
}

#[test]
fn an_empty_actor_is_an_unknown_one() {
    let app = app();
    AuditContext::new(Actor::user("")).scope(|| {
        app.auditor.record(AuditEvent::new("login")).unwrap();
    });
    let consumer = Consumer::builder(app.auditor.queue(), app.pool.clone())
        .spawn()
        .unwrap();
    consumer.flush().unwrap();
    let rows = stored(&app);
    assert_eq!(rows.len(), 1);
    assert_eq!(rows[0].actor_type.as_deref(), Some("unknown"));
    assert_eq!(app.auditor.stats().without_actor, 1);
}
