//! A consumer that is frozen, or whose host is gone, in the middle of its transaction.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::thread;
use std::time::{Duration, Instant};

use audit_diesel::{AuditContext, Consumer, MemoryQueue, Queue, Record};
use audit_tests::app::postgres::app;
use audit_tests::{LONG, pg_pool, wait_until};
use diesel::prelude::*;
use diesel::sql_types::{Bool, Integer};

use crate::on_postgres::helpers::*;
use crate::way::{Carried, Way};

/// The backend that holds a consumer's lock.
fn holder(conn: &mut PgConnection) -> Option<i32> {
    let pid = diesel::dsl::sql::<Integer>(
        "SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND granted
         AND database = (SELECT oid FROM pg_database WHERE datname = current_database())",
    );
    pid.get_result(conn).optional().unwrap()
}

/// A way to this database on which `stops` says when nothing is carried any more, over this connection
/// or another one. All stay open.
fn way_that_stops(
    url: &str,
    stops: impl Fn(&Carried) -> bool + Send + Sync + 'static,
) -> (Way, String) {
    let port: u16 = url[url.rfind(':').unwrap() + 1..url.rfind('/').unwrap()]
        .parse()
        .unwrap();
    let stopped = AtomicBool::new(false);
    let way = Way::to(port, move |carried| {
        while stopped.load(SeqCst) || stops(carried) {
            stopped.store(true, SeqCst);
            thread::park();
        }
        false
    });
    let through = url.replace(&format!(":{port}/"), &format!(":{}/", way.port));
    let through = format!("{}&sslmode=disable&gssencmode=disable", bounded(&through));
    (way, through)
}

/// With a shorter bound than the consumer's own, and a longer one than it takes to be named.
fn bounded(url: &str) -> String {
    format!("{url}?options=-c%20idle_in_transaction_session_timeout%3D13s")
}

fn consumer_of(url: &str, queue: &MemoryQueue) -> Consumer {
    let builder = Consumer::builder(Arc::new(queue.clone()), pg_pool(url));
    builder.interval(NEVER).spawn().unwrap()
}

/// Waits until the consumer holds its lock.
fn freezes(frozen: &Consumer, conn: &mut PgConnection) -> i32 {
    let _ = frozen.flush_within(Duration::from_millis(1));
    let mut pid = None;
    wait_until("the lock", LONG, || {
        pid = holder(conn);
        pid.is_some()
    });
    pid.unwrap()
}

#[test]
fn a_consumer_that_vanishes_in_its_transaction_is_named_and_holds_nobody_up_for_good() {
    let app = app();
    let url = app.guard.url();
    // COMMIT never arrives.
    let is_commit = |carried: &Carried| carried.latest.windows(7).any(|it| it == b"COMMIT\0");
    let (_way, through) = way_that_stops(&url, is_commit);
    let queue = MemoryQueue::new();
    let frozen = consumer_of(&through, &queue);
    queue.push(&payloads(20)).unwrap();
    let name = format!("backend {}", freezes(&frozen, &mut app.guard.connection()));
    let other = consumer_of(&url, &queue);
    let began = Instant::now();
    wait_until("the name of who holds the lock", LONG, || {
        let _ = other.flush_within(Duration::from_millis(100));
        let said = other.stats().last_error.unwrap_or_default();
        said.contains(&name)
    });
    assert!(began.elapsed().as_secs() >= 5, "it was said too soon");
    assert_eq!(other.stats().outages, 0);
    let warnings = other.warnings();
    assert!(
        warnings.iter().any(|it| it.problem.contains(&name)),
        "{warnings:?}"
    );
    other.flush_within(LONG).unwrap();
    assert!(began.elapsed() < LONG / 2, "{:?}", began.elapsed());
    assert_eq!(stored(&app), names(20));
    assert_eq!(other.stats().last_error, None);
    // It waits for an answer that never comes.
    std::mem::forget(frozen);
}

/// PostgreSQL waits for the rest of the rows, and no time-out of its own ends that.
#[test]
fn a_consumer_that_is_frozen_while_it_sends_rows_is_ended_by_the_one_that_waits() {
    let app = app();
    let url = app.guard.url();
    let (_way, through) = way_that_stops(&url, |carried| carried.bytes > 300_000);
    let queue = MemoryQueue::new();
    let frozen = consumer_of(&through, &queue);
    let large: Vec<_> = (0..20)
        .map(|n| {
            let mut record = Record::new(format!("n.{n}"), AuditContext::default());
            let text = "x".repeat(50_000);
            record.extra.insert("text".to_owned(), text.into());
            record.encode().unwrap()
        })
        .collect();
    queue.push(&large).unwrap();
    let conn = &mut app.guard.connection();
    let pid = freezes(&frozen, conn);
    wait_until("a statement that waits for rows", LONG, || {
        let waits = diesel::dsl::sql::<Bool>(
            "SELECT state = 'active' AND wait_event IS NOT DISTINCT FROM 'ClientRead' AND query LIKE 'COPY%'
             FROM pg_stat_activity WHERE pid = ",
        );
        waits.bind::<Integer, _>(pid).get_result(conn).unwrap()
    });
    let other = consumer_of(&bounded(&url), &queue);
    other.flush_within(LONG).unwrap();
    assert_eq!(stored(&app), names(20));
    assert_eq!(other.stats().quarantined, 0);
    std::mem::forget(frozen);
}
