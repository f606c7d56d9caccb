//! What the tests of the consumer share, on both backends.

use std::sync::Arc;
use std::time::Duration;

use audit_diesel::{
    AuditContext, AuditLog, Consumer, ConsumerBuilder, Payload, QuarantinedRecord, Queue, Record,
};
use audit_tests::{LONG, wait_until};
use diesel::prelude::*;

use super::trail::{audit_logs, audit_quarantine};
use super::{App, Conn};

/// Longer than any test: what happens was asked for, or is the first look.
pub const NEVER: Duration = Duration::from_secs(3600);

pub fn payload(action: &str) -> Payload {
    let record = Record::new(action, AuditContext::default());
    record.encode().unwrap()
}

/// Records of the actions `n.0`, `n.1` and so on.
pub fn payloads(count: usize) -> Vec<Payload> {
    (0..count).map(|n| payload(&format!("n.{n}"))).collect()
}

pub fn names(count: usize) -> Vec<String> {
    (0..count).map(|n| format!("n.{n}")).collect()
}

pub fn builder(app: &App, queue: impl Queue) -> ConsumerBuilder<Conn> {
    Consumer::builder(Arc::new(queue), app.pool.clone()).interval(NEVER)
}

pub fn consumer(app: &App, queue: impl Queue) -> Consumer {
    builder(app, queue).spawn().unwrap()
}

/// Waits until the consumer has failed to store, and checks that nothing was quarantined.
pub fn fails(consumer: &Consumer, words: &str) {
    let before = consumer.stats().outages;
    wait_until(&format!("two failures: {words}"), LONG, || {
        let _ = consumer.flush_within(Duration::from_millis(10));
        let stats = consumer.stats();
        assert_eq!(stats.quarantined, 0, "{stats:?}");
        stats.outages >= before + 2
    });
    let stats = consumer.stats();
    assert_eq!(stats.quarantined, 0, "{stats:?}");
    let error = stats.last_error.unwrap_or_default();
    assert!(error.contains(words), "{error}");
}

/// The actions in the table, in the order of their ids.
pub fn stored(app: &App) -> Vec<String> {
    let rows = audit_logs::table
        .select(AuditLog::as_select())
        .order(audit_logs::id)
        .load(&mut app.pool.get().unwrap());
    rows.unwrap().into_iter().map(|row| row.action).collect()
}

/// How many rows the table has.
pub fn rows(conn: &mut Conn) -> i64 {
    audit_logs::table.count().get_result(conn).unwrap()
}

pub fn quarantined(app: &App) -> Vec<QuarantinedRecord> {
    let rows = audit_quarantine::table
        .select(QuarantinedRecord::as_select())
        .load(&mut app.pool.get().unwrap());
    rows.unwrap()
}
