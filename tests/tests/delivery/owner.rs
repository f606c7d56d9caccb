//! Two applications that know nothing of each other, with one Redis and the default key.

use std::sync::Arc;
use std::time::Duration;

use audit_diesel::{AuditLog, audited};
use audit_diesel::{
    Auditor, AuditorBuilder, Consumer, ConsumerError, Queue, QueueError, RedisQueue,
};
use audit_tests::app::accounts;
use audit_tests::app::postgres::{self, trail};
use audit_tests::{RedisServer, wait_until};
use diesel::PgConnection;
use diesel::prelude::*;
use diesel::r2d2::{ConnectionManager, Pool};
use tempfile::TempDir;

use super::support::LONG;

/// An application as the README sets it up, with a database and a journal of its own.
struct Application {
    database: postgres::App,
    auditor: Auditor,
    pool: Pool<ConnectionManager<PgConnection>>,
    _folder: TempDir,
}

impl Application {
    fn new(server: &RedisServer) -> Self {
        Self::with(server, |builder, _| builder)
    }

    fn with(
        server: &RedisServer,
        more: impl FnOnce(AuditorBuilder, &postgres::App) -> AuditorBuilder,
    ) -> Self {
        let (database, folder) = (postgres::app(), TempDir::new().unwrap());
        let builder = Auditor::builder()
            .redis(server.url())
            .journal(folder.path().join("journal.db"));
        let auditor = more(builder, &database).build().unwrap();
        let pool = Pool::builder()
            .max_size(2)
            .connection_customizer(auditor.customizer())
            .build(ConnectionManager::new(database.guard.url()))
            .unwrap();
        Self {
            database,
            auditor,
            pool,
            _folder: folder,
        }
    }

    fn write(&self, count: usize) {
        let conn = &mut self.pool.get().unwrap();
        for _ in 0..count {
            audited::insert_into(accounts::table)
                .values(accounts::email.eq(uuid::Uuid::now_v7().to_string()))
                .execute(conn)
                .unwrap();
        }
    }

    fn consumer(&self) -> Result<Consumer, ConsumerError> {
        Consumer::builder(self.auditor.queue(), self.database.pool.clone())
            .interval(Duration::from_millis(20))
            .spawn()
    }

    /// Who was written, by the trail.
    fn stored(&self) -> Vec<String> {
        let rows = trail::audit_logs::table
            .select(AuditLog::as_select())
            .load(&mut self.database.pool.get().unwrap());
        let email = |row: AuditLog| {
            row.changes.unwrap()["email"]["new"]
                .as_str()
                .unwrap()
                .to_owned()
        };
        let mut stored: Vec<_> = rows.unwrap().into_iter().map(email).collect();
        stored.sort();
        stored
    }

    /// Who was written, by the application's table.
    fn written(&self) -> Vec<String> {
        let conn = &mut self.database.pool.get().unwrap();
        let emails = accounts::table.select(accounts::email);
        emails.order(accounts::email).load(conn).unwrap()
    }

    fn wait_until_refused(&self) {
        wait_until("the auditor's warning", LONG, || {
            let warnings = self
                .auditor
                .warnings()
                .iter()
                .map(ToString::to_string)
                .collect::<String>();
            warnings.contains("another audit database") && warnings.contains("audit:queue:owner")
        });
    }
}

fn assert_refused(error: &impl std::fmt::Display) {
    let error = error.to_string();
    assert!(error.contains("another audit database"), "{error}");
    assert!(
        error.contains("audit:queue:owner") && error.contains(".key("),
        "{error}"
    );
}

fn list(server: &RedisServer) -> RedisQueue {
    RedisQueue::builder(server.url()).build().unwrap()
}

#[test]
fn nothing_of_one_application_ends_in_the_trail_of_the_other() {
    let server = RedisServer::start(&[]);
    let (bank, blog) = (Application::new(&server), Application::new(&server));
    let consumer = bank.consumer().unwrap();
    bank.write(50);
    blog.write(50);
    assert_refused(&blog.consumer().unwrap_err());
    blog.wait_until_refused();
    bank.write(50);
    consumer.flush().unwrap();
    assert_eq!(bank.stored(), bank.written());
    assert_eq!(bank.stored().len(), 100);
    assert!(blog.stored().is_empty());
    // An operator removes the key once the bank has another one: nothing was lost.
    consumer.stop().unwrap();
    redis::cmd("DEL")
        .arg("audit:queue:owner")
        .exec(&mut server.connection())
        .unwrap();
    let consumer = blog.consumer().unwrap();
    consumer.flush().unwrap();
    wait_until("the blog's records", LONG, || {
        blog.stored() == blog.written()
    });
}

#[test]
fn a_consumer_of_another_application_takes_nothing_though_it_is_the_only_one() {
    let server = RedisServer::start(&[]);
    let (bank, blog) = (Application::new(&server), Application::new(&server));
    bank.write(50);
    bank.auditor.queue().settle(LONG).unwrap();
    assert_refused(&blog.consumer().unwrap_err());
    // Nor by a queue of its own, as in a worker's process.
    let alone = Consumer::builder(Arc::new(list(&server)), blog.database.pool.clone()).spawn();
    assert_refused(&alone.unwrap_err());
    assert!(blog.stored().is_empty());
    let consumer = bank.consumer().unwrap();
    consumer.flush().unwrap();
    assert_eq!(bank.stored(), bank.written());
}

#[test]
fn who_starts_without_redis_is_refused_once_it_is_there() {
    let mut server = RedisServer::start(&["--appendonly", "yes"]);
    let bank = Application::new(&server);
    bank.write(5);
    bank.auditor.queue().settle(LONG).unwrap();
    server.stop();
    let blog = Application::new(&server);
    let consumer = blog.consumer().unwrap();
    blog.write(5);
    server.restart();
    wait_until("the consumer's error", LONG, || {
        let error = consumer.stats().last_error.unwrap_or_default();
        error.contains("another audit database")
    });
    blog.wait_until_refused();
    assert!(blog.stored().is_empty());
    assert_eq!(list(&server).len(), Ok(5));
}

#[test]
fn a_wiped_redis_belongs_to_whoever_comes_next_and_loses_nothing() {
    let server = RedisServer::start(&[]);
    let bank = Application::with(&server, |builder, app| {
        let builder = builder.confirm_in(app.pool.clone());
        builder.confirm_after(Duration::from_millis(200))
    });
    bank.write(5);
    bank.auditor.queue().settle(LONG).unwrap();
    redis::cmd("FLUSHALL")
        .exec(&mut server.connection())
        .unwrap();
    let consumer = bank.consumer().unwrap();
    bank.write(5);
    wait_until("all records", LONG, || bank.stored() == bank.written());
    consumer.stop().unwrap();
}

#[test]
fn who_confirms_in_a_database_writes_for_that_one() {
    let server = RedisServer::start(&[]);
    let bank = Application::new(&server);
    let blog = Application::with(&server, |builder, app| builder.confirm_in(app.pool.clone()));
    let consumer = bank.consumer().unwrap();
    // An event has no connection to tell the database by.
    blog.auditor
        .record(audit_diesel::AuditEvent::new("started"))
        .unwrap();
    blog.wait_until_refused();
    consumer.flush().unwrap();
    assert!(bank.stored().is_empty());
}

#[test]
fn a_name_of_its_own_tells_a_copy_of_a_database_apart_and_joins_what_belongs_together() {
    let server = RedisServer::start(&[]);
    // The trail of the bank is in another database, and its consumer in another process.
    let bank = Application::with(&server, |builder, _| builder.owner("bank"));
    let trail = postgres::app();
    let queue = RedisQueue::builder(server.url())
        .owner("bank")
        .build()
        .unwrap();
    let consumer = Consumer::builder(Arc::new(queue), trail.pool.clone())
        .spawn()
        .unwrap();
    bank.write(5);
    bank.auditor.queue().settle(LONG).unwrap();
    consumer.flush().unwrap();
    assert!(bank.stored().is_empty());
    assert_eq!(consumer.stats().stored, 5);
    let staging = Application::with(&server, |builder, _| builder.owner("bank-staging"));
    staging.write(5);
    assert_refused(&staging.consumer().unwrap_err());
    staging.wait_until_refused();
    let empty = RedisQueue::builder(server.url()).owner("").build();
    assert!(matches!(empty, Err(QueueError::Misconfigured { .. })));
}

#[test]
fn a_trail_in_another_database_is_found_out_by_the_consumer_of_the_same_process() {
    let server = RedisServer::start(&[]);
    let (app, trail) = (Application::new(&server), postgres::app());
    app.write(5);
    app.auditor.queue().settle(LONG).unwrap();
    let consumer = Consumer::builder(app.auditor.queue(), trail.pool.clone())
        .spawn()
        .unwrap();
    app.write(5);
    consumer.flush().unwrap();
    assert_eq!(consumer.stats().stored, 10);
}
