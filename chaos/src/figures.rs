//! Questions that have one number as their answer.

pub mod backlog;
pub mod commit;
pub mod ended;
pub mod poison;
pub mod silence;
pub mod tail;

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use audit_diesel::{Actor, AuditContext, AuditEvent, Payload, Queue, Record};
use audit_tests::TestDatabase;
use diesel::prelude::*;

use crate::servers::Servers;
use crate::writer::redis_queue;

/// One line of the table.
fn line(what: &str, value: impl std::fmt::Display) {
    println!("{what:<64}{value:>14}");
}

/// A record of ordinary size.
fn record(number: usize) -> Record {
    let context = AuditContext::new(Actor::user("42")).request_id(format!("request-{number}"));
    let event = AuditEvent::new("report.exported")
        .resource("reports", number)
        .with("format", "pdf")
        .with("rows", number)
        .with("note", "something of ordinary length, as events have it");
    Record::from_event(event, context)
}

/// Fills the list with so many records, and says nothing is as it should be by panicking.
fn fill(servers: &Servers, count: usize, payload: impl Fn(usize) -> Payload) {
    let queue = redis_queue(&servers.redis.url(), &servers.key);
    for first in (0..count).step_by(1_000) {
        let last = (first + 1_000).min(count);
        let payloads: Vec<_> = (first..last).map(&payload).collect();
        queue.push(&payloads).expect("Redis takes them");
    }
}

/// A consumer process of its own.
struct Consuming(Child);

impl Consuming {
    fn start(servers: &Servers, database: &TestDatabase, batch: usize) -> Self {
        let program = std::env::current_exe().expect("this program");
        let child = Command::new(program)
            .args(["consumer", "--name", "consumer", "--folder", "/tmp"])
            .args(["--batch", &batch.to_string()])
            .args(["--postgres", &servers.postgres_url(database)])
            .args(["--redis", &servers.redis_url(), "--key", &servers.key])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn();
        Self(child.expect("a consumer"))
    }

    /// A line of the kernel's word on the process, in KiB.
    fn memory(&self, name: &str) -> u64 {
        let path = format!("/proc/{}/status", self.0.id());
        let text = std::fs::read_to_string(path).unwrap_or_default();
        let line = text.lines().find(|line| line.starts_with(name));
        let number = line.and_then(|line| line.split_whitespace().nth(1));
        number.and_then(|number| number.parse().ok()).unwrap_or(0)
    }
}

impl Drop for Consuming {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Waits until the list is empty; how long that took.
fn until_empty(servers: &Servers, patience: Duration) -> Duration {
    let started = Instant::now();
    while servers.queued() != Some(0) {
        assert!(started.elapsed() < patience, "the queue is not empty");
        std::thread::sleep(Duration::from_millis(10));
    }
    started.elapsed()
}

/// How many rows a table has.
fn count(conn: &mut PgConnection, table: &str) -> i64 {
    diesel::select(diesel::dsl::sql::<diesel::sql_types::BigInt>(&format!(
        "(SELECT count(*) FROM {table})"
    )))
    .get_result(conn)
    .expect("a count")
}
