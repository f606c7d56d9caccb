//! Another process writes to the SQLite database, and does not finish.

use std::sync::Arc;
use std::time::Duration;

use audit_diesel::{Consumer, MemoryQueue, Payload, Queue};
use audit_tests::{LONG, wait_until};
use diesel::connection::{Connection, SimpleConnection};
use diesel::r2d2::{ConnectionManager, Pool};

use crate::on_sqlite::helpers::*;
use audit_tests::app::sqlite::app;

#[test]
fn a_locked_database_is_waited_for() {
    let app = app();
    let path = app.guard.path().join("app.db").display().to_string();
    // It waits for nobody by itself.
    let manager = ConnectionManager::<diesel::SqliteConnection>::new(&path);
    let pool = Pool::builder().max_size(2).build(manager).unwrap();
    let queue = MemoryQueue::new();
    let consumer = Consumer::builder(Arc::new(queue.clone()), pool).interval(NEVER);
    let consumer = consumer.spawn().unwrap();
    let mut other = diesel::SqliteConnection::establish(&path).unwrap();
    other
        .batch_execute("PRAGMA busy_timeout = 120000; BEGIN IMMEDIATE")
        .unwrap();
    queue.push(&payloads(20)).unwrap();
    queue.push(&[Payload::from(b"?".to_vec())]).unwrap();
    let before = consumer.stats().outages;
    wait_until("two failures", LONG, || {
        let _ = consumer.flush_within(Duration::from_millis(10));
        consumer.stats().outages >= before + 2
    });
    let error = consumer.stats().last_error.unwrap_or_default();
    assert!(error.contains("database is locked"), "{error}");
    other.batch_execute("COMMIT").unwrap();
    consumer.flush().unwrap();
    assert_eq!(stored(&app), names(20));
    assert_eq!(quarantined(&app).len(), 1);
}
