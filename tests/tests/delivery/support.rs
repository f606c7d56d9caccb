//! An application whose records go through a Redis of its own.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use audit_diesel::{
    AuditEvent, AuditLog, Auditor, AuditorBuilder, Consumer, Journal, MemoryQueue, Queue,
    RedisQueue,
};
use audit_tests::app::postgres::{self, trail};
use audit_tests::{RedisServer, wait_until};
use diesel::prelude::*;
use tempfile::TempDir;

pub use audit_tests::LONG;

/// For servers that do not answer; one that does may take longer on a slow machine.
const IMPATIENT: Duration = Duration::from_millis(300);

/// Whose the list is: most of these tests record events only, and have no connection to learn it from.
pub const OWNER: &str = "tests";

pub const GRACE: Duration = Duration::from_millis(200);

pub struct Setup {
    pub app: postgres::App,
    pub server: RedisServer,
    pub folder: TempDir,
    timeout: Duration,
}

impl Setup {
    pub fn new(redis_args: &[&str]) -> Self {
        Self {
            app: postgres::app(),
            server: RedisServer::start(redis_args),
            folder: TempDir::new().unwrap(),
            timeout: LONG,
        }
    }

    /// Where Redis does not answer in time.
    pub fn impatient(redis_args: &[&str]) -> Self {
        Self {
            timeout: IMPATIENT,
            ..Self::new(redis_args)
        }
    }

    pub fn path(&self) -> PathBuf {
        self.folder.path().join("journal.db")
    }

    pub fn list(&self) -> RedisQueue {
        list(&self.server.url(), self.timeout)
    }

    /// Journal and Redis; what the database has is dropped from the journal.
    pub fn confirmed(&self) -> AuditorBuilder {
        Auditor::builder()
            .redis_queue(self.list())
            .journal(self.path())
            .confirm_in(self.app.pool.clone())
            .confirm_after(GRACE)
    }

    pub fn consumer(&self) -> Consumer {
        Consumer::builder(Arc::new(self.list()), self.app.pool.clone())
            .interval(Duration::from_millis(20))
            .spawn()
            .unwrap()
    }

    pub fn journal(&self) -> Journal {
        Journal::builder(self.path()).open().unwrap()
    }

    /// The actions in the table, sorted as they were made.
    pub fn stored(&self) -> Vec<String> {
        let rows = trail::audit_logs::table
            .select(AuditLog::as_select())
            .order(trail::audit_logs::id)
            .load(&mut self.app.pool.get().unwrap());
        rows.unwrap().into_iter().map(|row| row.action).collect()
    }

    /// Waits until the table holds `n.0` to `n.count`, each once.
    pub fn wait_for(&self, count: usize) {
        let what = format!("{count} records in the table");
        wait_until(&what, LONG, || self.stored().len() >= count);
        assert_eq!(self.stored(), names(count));
    }

    /// Waits until the journal holds nothing.
    pub fn wait_for_an_empty_journal(&self) {
        let journal = self.journal();
        wait_until("an empty journal", LONG, || journal.is_empty().unwrap());
        assert_eq!(journal.bytes().unwrap(), 0);
    }

    /// Stores this many records and no more.
    pub fn store_some(&self, count: usize) {
        let batch = self.list().peek(count).unwrap();
        let queue = MemoryQueue::new();
        queue.push(&batch.payloads).unwrap();
        let consumer = Consumer::builder(Arc::new(queue), self.app.pool.clone())
            .spawn()
            .unwrap();
        consumer.flush().unwrap();
        assert_eq!(self.list().ack(&batch), Ok(count));
    }

    /// How often somebody has looked into the Redis list for a record since the server's start.
    pub fn looks(&self) -> u64 {
        let info: String = redis::cmd("INFO")
            .arg("commandstats")
            .query(&mut self.server.connection())
            .unwrap();
        let calls = info
            .lines()
            .find_map(|line| line.strip_prefix("cmdstat_lpos:calls="));
        calls.map_or(0, |calls| calls.split(',').next().unwrap().parse().unwrap())
    }

    pub fn redis(&self, command: &str) {
        let mut words = command.split(' ');
        let mut command = redis::cmd(words.next().unwrap());
        for word in words {
            command.arg(word);
        }
        command.exec(&mut self.server.connection()).unwrap();
    }
}

pub fn list(url: &str, timeout: Duration) -> RedisQueue {
    RedisQueue::builder(url)
        .owner(OWNER)
        .connect_timeout(timeout)
        .io_timeout(timeout)
        .build()
        .unwrap()
}

/// Records `n.from` and so on.
pub fn record(auditor: &Auditor, numbers: std::ops::Range<usize>) {
    for n in numbers {
        auditor.record(AuditEvent::new(format!("n.{n}"))).unwrap();
    }
}

pub fn names(count: usize) -> Vec<String> {
    (0..count).map(|n| format!("n.{n}")).collect()
}
