//! A process that writes: several threads, every way to keep a write and every way to lose one.

mod operations;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use audit_diesel::{Actor, AuditContext, Auditor, Fsync, Journal, QueueError, RedisQueue};
use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use diesel::r2d2::{self, ConnectionManager, CustomizeConnection, Pool, R2D2Connection};

use crate::args::Args;
use crate::breaks::Break;
use crate::mode;
use crate::outcomes::{Outcome, Outcomes};
use crate::random::Random;

pub type PgPool = Pool<ConnectionManager<PgConnection>>;

/// How long a write waits for a row that a stopped process has locked.
#[derive(Debug)]
pub struct Impatient;

impl CustomizeConnection<PgConnection, r2d2::Error> for Impatient {
    fn on_acquire(&self, conn: &mut PgConnection) -> Result<(), r2d2::Error> {
        conn.batch_execute("SET lock_timeout = '1s'; SET deadlock_timeout = '50ms'")
            .map_err(r2d2::Error::QueryError)
    }
}

/// What a writer is told on its command line.
#[derive(Clone)]
struct Settings {
    name: String,
    folder: PathBuf,
    threads: u64,
    seed: u64,
    pause: Duration,
    publish_early: bool,
}

/// The queue's list, with time-outs that a test can wait for.
pub fn redis_queue(url: &str, key: &str) -> RedisQueue {
    RedisQueue::builder(url)
        .key(key)
        .owner("chaos")
        .connect_timeout(Duration::from_millis(300))
        .io_timeout(Duration::from_millis(500))
        .build()
        .expect("a Redis queue")
}

/// How long a journal waits for another process that writes.
pub const BUSY_TIMEOUT: Duration = Duration::from_secs(2);

/// Opens the journal as soon as nobody holds it: a supervisor would start the process again.
fn journal(path: &str, fsync: Fsync) -> Journal {
    let builder = Journal::builder(path)
        .busy_timeout(BUSY_TIMEOUT)
        .fsync(fsync);
    loop {
        match builder.clone().open() {
            Ok(journal) => return journal,
            Err(QueueError::Unavailable { .. }) => {}
            Err(error) => panic!("{error}"),
        }
    }
}

/// One process in four writes to the journal's tables, and the others beside them.
fn fsync(args: &Args) -> Fsync {
    match args.or("seed", 0_u64) % 4 {
        3 => Fsync::Always,
        _ => Fsync::Os,
    }
}

/// How long a record gets to arrive: short, as the processes live for moments only.
const CONFIRM_AFTER: Duration = Duration::from_millis(400);

fn auditor(args: &Args) -> Auditor {
    let mut builder = Auditor::builder()
        .redis_queue(redis_queue(args.required("redis"), args.required("key")))
        .delivery(mode::of(args));
    builder = match args.text("journal") {
        None => builder.without_journal(),
        Some(path) => {
            let builder = builder.journal_queue(journal(path, fsync(args)));
            match Break::of(args).is_some_and(Break::is_without_confirmation) {
                true => builder,
                false => builder
                    .confirm_in(pool(args.required("postgres"), 1, None))
                    .confirm_after(CONFIRM_AFTER),
            }
        }
    };
    builder.build().expect("an auditor")
}

/// Connections with the auditor on them; none is made before it is needed.
pub fn pool(url: &str, size: u32, auditor: Option<&Auditor>) -> PgPool {
    let builder = Pool::builder()
        .max_size(size)
        .min_idle(Some(0))
        .connection_timeout(Duration::from_secs(2));
    let builder = match auditor {
        Some(auditor) => {
            builder.connection_customizer(auditor.customizer().after(Box::new(Impatient)))
        }
        None => builder,
    };
    builder.build_unchecked(ConnectionManager::new(url))
}

/// A flag that SIGTERM sets.
pub fn stop_on_sigterm() -> Arc<AtomicBool> {
    let stop = Arc::new(AtomicBool::new(false));
    signal_hook::flag::register(signal_hook::consts::SIGTERM, Arc::clone(&stop))
        .expect("a handler for SIGTERM");
    stop
}

/// Writes until it is told to stop or killed.
pub fn run(args: &Args) {
    let stop = stop_on_sigterm();
    let settings = Settings {
        name: args.required("name").to_owned(),
        folder: args.path("folder"),
        threads: args.or("threads", 3),
        seed: args.or("seed", 0),
        pause: Duration::from_micros(args.or("pause-us", 3_000)),
        publish_early: Break::of(args) == Some(Break::PublishEarly),
    };
    let auditor = auditor(args);
    let pool = pool(args.required("postgres"), 8, Some(&auditor));
    std::thread::scope(|scope| {
        for thread in 0..settings.threads {
            let (settings, pool, auditor, stop) = (&settings, &pool, &auditor, &stop);
            scope.spawn(move || write(settings, thread, pool, auditor, stop));
        }
        // Without threads it only carries the journal on.
        while !stop.load(Ordering::Relaxed) {
            std::thread::sleep(Duration::from_millis(5));
        }
    });
    drop(pool);
    let stats = auditor.stats();
    drop(auditor);
    println!("{}: {stats:?}", settings.name);
}

fn write(settings: &Settings, thread: u64, pool: &PgPool, auditor: &Auditor, stop: &AtomicBool) {
    let name = format!("{}.{thread}", settings.name);
    let mut random = Random::of(&[settings.seed, thread]);
    let mut outcomes = Outcomes::create(&settings.folder, &name);
    let mut kept: Option<r2d2::PooledConnection<ConnectionManager<PgConnection>>> = None;
    let mut longest = Duration::ZERO;
    for n in 0.. {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let Some(mut conn) = kept.take().or_else(|| pool.get().ok()) else {
            continue;
        };
        let op = format!("{name}.{n}");
        let named = diesel::sql_query("SELECT set_config('chaos.op', $1, false)")
            .bind::<diesel::sql_types::Text, _>(&op)
            .execute(&mut *conn);
        if named.is_err() {
            continue;
        }
        let context = AuditContext::new(Actor::user(&name)).request_id(&op);
        let started = Instant::now();
        let outcome = context.scope(|| {
            operations::Operation::new(&op, &mut random, auditor, settings.publish_early)
                .run(&mut conn)
        });
        longest = longest.max(started.elapsed());
        outcomes.write(&op, outcome);
        if outcome == Outcome::Returned || !conn.is_broken() {
            kept = Some(conn);
        }
        std::thread::sleep(settings.pause);
    }
    println!("{name}: longest call {} ms", longest.as_millis());
}
