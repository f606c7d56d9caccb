//! Redis accepts and never answers: how long does a caller wait, and how long does it take to
//! catch up afterwards?

use std::path::PathBuf;
use std::time::{Duration, Instant};

use audit_diesel::{Actor, AuditContext, Auditor, Journal, Queue, RedisQueue, audited};
use diesel::prelude::*;

use crate::app::accounts;
use crate::args::Args;
use crate::servers::Servers;
use crate::writer::pool;

use super::{Consuming, count, line, until_empty};

const CALM: Duration = Duration::from_secs(3);
const SILENT: Duration = Duration::from_secs(8);

pub fn run(_: &Args) -> bool {
    let mut servers = Servers::start();
    let database = servers.database();
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("journal.db");
    let auditor = auditor(&servers, path.clone());
    let connections = pool(&servers.postgres_url(&database), 2, Some(&auditor));
    let _consumer = Consuming::start(&servers, &database, 1_000);
    let conn = &mut connections.get().expect("a connection");
    name_operation(conn);
    // The first call connects and prepares.
    calls(conn, Duration::from_millis(300));
    let calm = calls(conn, CALM);
    servers.redis.suspend();
    let silent = calls(conn, SILENT);
    servers.redis.resume();
    let journal = Journal::builder(&path).open().expect("the journal");
    let back = Instant::now();
    while journal.len().expect("its length") > 0 {
        assert!(back.elapsed() < Duration::from_secs(60), "not caught up");
        std::thread::sleep(Duration::from_millis(5));
    }
    until_empty(&servers, Duration::from_secs(60));
    let caught_up = back.elapsed();
    let stored = count(&mut database.connection(), "audit_logs");
    line("update, Redis at work: median µs", calm.median.as_micros());
    line("update, Redis at work: longest ms", ms(calm.longest));
    line(
        "update, Redis silent for 8 s: median µs",
        silent.median.as_micros(),
    );
    line(
        "update, Redis silent for 8 s: longest ms",
        ms(silent.longest),
    );
    line("records written meanwhile", silent.calls);
    line(
        "from \"Redis is back\" to \"all stored\", ms",
        caught_up.as_millis(),
    );
    let kept = count(&mut database.connection(), "truth");
    let alone = without_journal(&mut servers);
    line(
        "the same without a journal: median µs",
        alone.median.as_micros(),
    );
    line("the same without a journal: longest ms", ms(alone.longest));
    stored == kept && silent.longest < Duration::from_millis(500)
}

/// Redis alone: the first caller who finds it silent waits for a time-out.
fn without_journal(servers: &mut Servers) -> Calls {
    let database = servers.database();
    let builder = Auditor::builder().redis(servers.redis_url());
    let auditor = builder.without_journal().build().expect("an auditor");
    let connections = pool(&servers.postgres_url(&database), 2, Some(&auditor));
    let conn = &mut connections.get().expect("a connection");
    name_operation(conn);
    calls(conn, Duration::from_millis(300));
    servers.redis.suspend();
    let silent = calls(conn, SILENT);
    servers.redis.resume();
    silent
}

fn auditor(servers: &Servers, path: PathBuf) -> Auditor {
    let builder = Auditor::builder().redis_queue(redis(servers)).journal(path);
    builder.build().expect("an auditor")
}

/// With the time-outs that it has unless said otherwise.
fn redis(servers: &Servers) -> RedisQueue {
    let builder = RedisQueue::builder(servers.redis_url())
        .key(&servers.key)
        .owner("chaos");
    builder.build().expect("a Redis queue")
}

fn name_operation(conn: &mut PgConnection) {
    diesel::sql_query("SELECT set_config('chaos.op', 'figure', false)")
        .execute(conn)
        .expect("a name");
}

struct Calls {
    calls: usize,
    median: Duration,
    longest: Duration,
}

fn calls(conn: &mut PgConnection, time: Duration) -> Calls {
    let end = Instant::now() + time;
    let mut took = Vec::new();
    while Instant::now() < end {
        let started = Instant::now();
        AuditContext::new(Actor::system()).scope(|| {
            audited::update(accounts::table.find(took.len() as i64 % 20 + 1))
                .set(accounts::version.eq(accounts::version + 1))
                .execute(conn)
                .expect("an update");
        });
        took.push(started.elapsed());
    }
    took.sort_unstable();
    Calls {
        calls: took.len(),
        median: took[took.len() / 2],
        longest: took[took.len() - 1],
    }
}

fn ms(time: Duration) -> String {
    format!("{:.1}", time.as_secs_f64() * 1e3)
}
