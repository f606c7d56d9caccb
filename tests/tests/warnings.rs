//! What is set up so that records could be lost is said once, and can be asked for.

use std::fmt::Write;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use audit_diesel::{
    Actor, AuditContext, AuditEvent, Auditor, Consumer, Journal, Queue, RedisQueue, Warning,
};
use audit_tests::app::postgres::{App, app};
use audit_tests::{LONG, RedisServer, wait_until};
use diesel::connection::SimpleConnection;
use tempfile::TempDir;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

/// Collects what is said aloud.
struct Said(Arc<Mutex<Vec<String>>>);

struct Text(String);

impl Visit for Text {
    fn record_debug(&mut self, _: &Field, value: &dyn std::fmt::Debug) {
        write!(self.0, "{value:?} ").unwrap();
    }
}

impl Subscriber for Said {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }
    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }
    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn event(&self, event: &Event<'_>) {
        let mut text = Text(String::new());
        event.record(&mut text);
        self.0.lock().unwrap().push(text.0);
    }
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

fn list(url: String) -> RedisQueue {
    RedisQueue::builder(url).io_timeout(LONG).build().unwrap()
}

fn of_redis(args: &[&str]) -> Vec<Warning> {
    let server = RedisServer::start(args);
    list(server.url()).warnings().unwrap()
}

fn problems(warnings: &[Warning]) -> String {
    let problems = warnings.iter().map(|warning| &*warning.problem);
    problems.collect::<Vec<_>>().join("; ")
}

#[test]
fn a_redis_without_persistence() {
    let found = of_redis(&["--save", ""]);
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(problems(&found).contains("keeps nothing on disk"));
    let said = found[0].to_string();
    assert!(
        said.contains("audit:queue") && said.contains("appendonly yes"),
        "{said}"
    );
    let found = of_redis(&["--save", "60 1"]);
    assert!(problems(&found).contains("last snapshot"), "{found:?}");
}

#[test]
fn a_redis_that_evicts() {
    for (policy, count) in [("allkeys-lru", 1), ("volatile-lru", 0), ("noeviction", 0)] {
        let found = of_redis(&["--appendonly", "yes", "--maxmemory-policy", policy]);
        let evicts = found.iter().filter(|w| w.problem.contains("evict"));
        assert_eq!(evicts.count(), count, "{policy}: {found:?}");
    }
}

#[test]
fn a_redis_with_the_dangling_multi() {
    let server = RedisServer::start(&["--appendonly", "yes"]);
    let info: String = redis::cmd("INFO").query(&mut server.connection()).unwrap();
    let found = list(server.url()).warnings().unwrap();
    let has_defect = info.contains("redis_version:7.0.");
    assert_eq!(found.len(), usize::from(has_defect), "{found:?}");
    for warning in found {
        assert!(
            warning.advice.contains("redis-check-aof --fix"),
            "{warning}"
        );
    }
}

#[test]
fn a_redis_that_may_not_be_asked_warns_of_nothing() {
    let server = RedisServer::start(&["--save", ""]);
    let mut conn = server.connection();
    redis::cmd("ACL")
        .arg(&[
            "SETUSER", "app", "on", ">secret", "~*", "+@list", "+eval", "+evalsha", "+script",
        ])
        .exec(&mut conn)
        .unwrap();
    let port = server.port();
    let queue = list(format!("redis://app:secret@127.0.0.1:{port}/"));
    assert_eq!(queue.warnings().unwrap(), []);
    // CONFIG alone is what hosted servers refuse.
    redis::cmd("ACL")
        .arg(&["SETUSER", "app", "+info"])
        .exec(&mut conn)
        .unwrap();
    assert!(problems(&queue.warnings().unwrap()).contains("append-only file"));
}

#[test]
fn a_journal_in_memory() {
    let folder = TempDir::new_in("/dev/shm").unwrap();
    let journal = Journal::builder(folder.path().join("journal.db"))
        .open()
        .unwrap();
    let found = journal.warnings().unwrap();
    assert!(problems(&found).contains("tmpfs"), "{found:?}");
    let folder = TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let journal = Journal::builder(folder.path().join("journal.db"))
        .open()
        .unwrap();
    let found = journal.warnings().unwrap();
    // The tests themselves may run in a container.
    assert!(
        found.iter().all(|w| w.problem.ends_with("(overlay)")),
        "{found:?}"
    );
}

fn settings_of_postgres(app: &App, setting: &str) -> Vec<Warning> {
    let url = format!("{}?options=-c%20{setting}", app.guard.url());
    let queue = Arc::new(audit_diesel::MemoryQueue::new());
    let consumer = Consumer::builder(queue, audit_tests::pg_pool(&url))
        .spawn()
        .unwrap();
    consumer.warnings()
}

#[test]
fn a_postgres_that_does_not_wait_for_the_disk() {
    let app = app();
    let on = settings_of_postgres(&app, "synchronous_commit%3Don");
    let off = settings_of_postgres(&app, "synchronous_commit%3Doff");
    assert!(!problems(&on).contains("synchronous_commit"));
    assert!(
        problems(&off).contains("synchronous_commit = off"),
        "{off:?}"
    );
    // The tests' own server does not.
    let server = audit_tests::PostgresServer::start();
    let app = audit_tests::app::postgres::app_on(audit_tests::TestDatabase::on(&server.url()));
    let found = settings_of_postgres(&app, "synchronous_commit%3Don");
    assert!(problems(&found).contains("fsync = off"), "{found:?}");
    assert!(found[0].advice.contains("fsync = on"));
}

#[test]
fn a_postgres_whose_pages_can_be_torn() {
    let server = audit_tests::PostgresServer::start();
    let app = audit_tests::app::postgres::app_on(audit_tests::TestDatabase::on(&server.url()));
    let ask = || settings_of_postgres(&app, "synchronous_commit%3Don");
    assert!(!problems(&ask()).contains("full_page_writes"));
    let conn = &mut app.guard.connection();
    conn.batch_execute("ALTER SYSTEM SET full_page_writes = off")
        .unwrap();
    conn.batch_execute("SELECT pg_reload_conf()").unwrap();
    wait_until("the warning", Duration::from_secs(60), || {
        let found = ask();
        let torn = found
            .iter()
            .find(|w| w.problem.contains("full_page_writes = off"));
        torn.is_some_and(|w| w.advice.contains("full_page_writes = on"))
    });
}

/// Everything is said once, when it can be found out, and a start without Redis is no slower.
#[test]
fn each_is_said_once_and_a_start_waits_for_nothing() {
    let said = Arc::new(Mutex::new(Vec::new()));
    tracing::subscriber::set_global_default(Said(said.clone())).unwrap();
    let count = |subject: &str| {
        let said = said.lock().unwrap();
        said.iter()
            .filter(|text| text.contains(subject) && text.contains("keeps nothing on disk"))
            .count()
    };
    let (app, folder) = (app(), TempDir::new().unwrap());
    let mut server = RedisServer::start(&[]);
    let name = list(server.url()).name();
    server.suspend();
    let started = Instant::now();
    let auditor = Auditor::builder()
        .redis_queue(list(server.url()))
        .journal(folder.path().join("journal.db"))
        .build()
        .unwrap();
    assert!(started.elapsed() < LONG / 2);
    server.resume();
    let consumers = [(); 2].map(|()| {
        let builder = Consumer::builder(auditor.queue(), app.pool.clone());
        builder.interval(Duration::from_millis(10)).spawn().unwrap()
    });
    // Later looks at the same server say nothing new.
    wait_until("the warning", LONG, || count(&name) == 1);
    for round in 0..20 {
        let context = AuditContext::new(Actor::user("1"));
        let recorded = context.scope(|| auditor.record(AuditEvent::new(format!("n.{round}"))));
        recorded.unwrap();
        consumers[round % 2].flush().unwrap();
    }
    assert_eq!(count(&name), 1);
    assert_eq!(auditor.warnings().len(), 1);
    server.stop();
    let found = problems(&auditor.warnings());
    assert!(found.contains("cannot be asked"), "{found}");
}
