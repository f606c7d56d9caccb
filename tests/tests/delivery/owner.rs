//! Two applications that know nothing of each other, with one Redis and the default key.

use std::sync::Arc;
use std::time::Duration;

use audit_diesel::{AuditLog, audited};
use audit_diesel::{
    Auditor, AuditorBuilder, Consumer, ConsumerError, Queue, QueueError, RedisQueue,
};
use audit_tests::app::accounts;
use audit_tests::app::postgres::{self, trail};
use audit_tests::{RedisServer, TestRole, wait_until};
use diesel::PgConnection;
use diesel::connection::SimpleConnection;
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

    /// Its next process: with what the journal holds, and not connected to the database yet.
    fn restarted(self, server: &RedisServer) -> Self {
        let Self {
            database,
            auditor,
            pool,
            _folder: folder,
        } = self;
        drop((pool, auditor));
        let builder = Auditor::builder().redis(server.url());
        let builder = builder.journal(folder.path().join("journal.db"));
        let auditor = builder.build().unwrap();
        let pool = Pool::builder()
            .max_size(2)
            .min_idle(Some(0))
            .connection_customizer(auditor.customizer())
            .build_unchecked(ConnectionManager::new(database.guard.url()));
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
            .filter(trail::audit_logs::action.eq("insert"))
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

    /// Until it says that it does not know whose records it has; something else is as good as that it
    /// has pushed them.
    fn wait_until_it_asks_whose_it_is(&self, server: &RedisServer) {
        let before = list(server).len().unwrap();
        wait_until("the auditor to ask whose its records are", LONG, || {
            assert_eq!(list(server).len(), Ok(before), "they were pushed");
            let warnings = self.auditor.warnings();
            let mut said = warnings.iter().map(ToString::to_string);
            said.any(|it| it.contains("not known yet") && it.contains(".owner(name)"))
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
    let bank = Application::new(&server);
    let consumer = bank.consumer().unwrap();
    let blog = Application::new(&server);
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
    let bank = Application::new(&server);
    bank.write(50);
    bank.auditor.queue().settle(LONG).unwrap();
    let blog = Application::new(&server);
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
    let consumer = bank.consumer().unwrap();
    let blog = Application::with(&server, |builder, app| builder.confirm_in(app.pool.clone()));
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

/// What the process before has left is in the journal when the next one starts, which does not know its
/// database before it has a connection.
#[test]
fn a_backlog_waits_until_it_is_known_whose_it_is() {
    let server = RedisServer::start(&["--appendonly", "yes"]);
    let bank = Application::new(&server);
    let consumer = bank.consumer().unwrap();
    let blog = Application::new(&server);
    blog.write(50);
    blog.wait_until_refused();
    let blog = blog.restarted(&server);
    blog.auditor
        .record(audit_diesel::AuditEvent::new("started"))
        .unwrap();
    blog.wait_until_it_asks_whose_it_is(&server);
    blog.write(50);
    blog.wait_until_refused();
    bank.write(50);
    consumer.flush().unwrap();
    assert_eq!(bank.stored(), bank.written());
    consumer.stop().unwrap();
    drop(consumer);
    // The same where the list is the bank's own.
    let bank = bank.restarted(&server);
    bank.auditor
        .record(audit_diesel::AuditEvent::new("started"))
        .unwrap();
    bank.wait_until_it_asks_whose_it_is(&server);
    bank.write(50);
    let consumer = bank.consumer().unwrap();
    consumer.flush().unwrap();
    assert_eq!((bank.stored(), bank.stored().len()), (bank.written(), 100));
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
    assert_eq!(blog.stored().len(), 100);
}

/// Who looks into a list, or takes from it, is told as well.
#[test]
fn who_says_no_name_gets_nothing_of_a_list_that_is_somebodys() {
    let server = RedisServer::start(&[]);
    let bank = Application::new(&server);
    bank.write(5);
    bank.auditor.queue().settle(LONG).unwrap();
    let payload = audit_diesel::Payload::from(&b"somebody's"[..]);
    let nobody = list(&server);
    for error in [
        nobody.peek(10).unwrap_err(),
        nobody.push(std::slice::from_ref(&payload)).unwrap_err(),
        nobody.put_off(&[payload]).unwrap_err(),
    ] {
        assert!(matches!(error, QueueError::Unavailable { .. }), "{error:?}");
        assert!(error.to_string().contains("not known yet"), "{error}");
    }
    assert_eq!(nobody.len(), Ok(5));
}

#[test]
fn a_consumer_whose_database_does_not_say_which_it_is_has_to_be_named() {
    let server = RedisServer::start(&[]);
    let (bank, blog) = (Application::new(&server), postgres::app());
    bank.write(5);
    bank.auditor.queue().settle(LONG).unwrap();
    let role = TestRole::new(&blog.guard);
    let name = role.name();
    let sql = format!(
        "REVOKE EXECUTE ON FUNCTION pg_control_system() FROM PUBLIC;
         GRANT SELECT, INSERT ON audit_logs, audit_quarantine TO {name};"
    );
    blog.guard.connection().batch_execute(&sql).unwrap();
    let pool = || audit_tests::pg_pool(&role.url());
    let consumer = |list: RedisQueue| Consumer::builder(Arc::new(list), pool()).spawn();
    let error = consumer(list(&server)).unwrap_err();
    assert!(matches!(error, ConsumerError::NoIdentity { .. }), "{error}");
    let said = error.to_string();
    for words in ["pg_control_system", ".owner(name)"] {
        assert!(said.contains(words), "{said}");
    }
    let named = RedisQueue::builder(server.url()).owner("blog").build();
    assert_refused(&consumer(named.unwrap()).unwrap_err());
    let own = RedisQueue::builder(server.url()).key("blog").owner("blog");
    consumer(own.build().unwrap()).unwrap().flush().unwrap();
    assert_eq!(list(&server).len(), Ok(5));
}

/// The consumer of the same process stores in one database, and records are confirmed in another.
#[test]
fn two_databases_for_one_list_stop_the_forwarder_for_good() {
    let server = RedisServer::start(&[]);
    let other = postgres::app();
    let bank = Application::with(&server, |builder, _| builder.confirm_in(other.pool.clone()));
    let consumer = bank.consumer().unwrap();
    bank.write(5);
    for _ in 0..3 {
        bank.auditor
            .queue()
            .settle(Duration::from_millis(300))
            .unwrap_err();
        assert_eq!(list(&server).len(), Ok(0));
    }
    assert!(bank.stored().is_empty());
    let stats = bank.auditor.stats();
    let said = stats.workers.iter().map(ToString::to_string);
    let said = said.collect::<String>();
    assert!(said.contains("has to be the same database"), "{said}");
    consumer.stop().unwrap();
}
