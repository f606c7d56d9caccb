//! A consumer that is frozen, or whose host is gone, in the middle of its transaction.

use std::sync::Arc;
use std::thread;
use std::time::Instant;

use audit_diesel::{Consumer, MemoryQueue, Queue};
use audit_tests::app::postgres::app;
use audit_tests::{LONG, pg_pool, wait_until};
use diesel::prelude::*;
use diesel::sql_types::Integer;

use crate::on_postgres::helpers::*;
use crate::way::Way;

/// The backend that holds a consumer's lock.
fn holder(conn: &mut PgConnection) -> Option<i32> {
    let pid = diesel::dsl::sql::<Integer>(
        "SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND granted
         AND database = (SELECT oid FROM pg_database WHERE datname = current_database())",
    );
    pid.get_result(conn).optional().unwrap()
}

#[test]
fn a_consumer_that_vanishes_in_its_transaction_is_named_and_holds_nobody_up_for_good() {
    let app = app();
    let url = app.guard.url();
    let port: u16 = url[url.rfind(':').unwrap() + 1..url.rfind('/').unwrap()]
        .parse()
        .unwrap();
    // COMMIT never arrives, and the connection stays open.
    let way = Way::to(port, |carried| {
        while carried.latest.windows(7).any(|it| it == b"COMMIT\0") {
            thread::park();
        }
        false
    });
    let through = url.replace(&format!(":{port}/"), &format!(":{}/", way.port));
    let through = format!("{through}?sslmode=disable&gssencmode=disable");
    let queue = MemoryQueue::new();
    let at = |url: &str| {
        let builder = Consumer::builder(Arc::new(queue.clone()), pg_pool(url));
        builder.interval(NEVER).spawn().unwrap()
    };
    let frozen = at(&through);
    queue.push(&payloads(20)).unwrap();
    let _ = frozen.flush_within(std::time::Duration::from_millis(1));
    let (conn, mut pid) = (&mut app.guard.connection(), None);
    wait_until("the lock", LONG, || {
        pid = holder(conn);
        pid.is_some()
    });
    let other = at(&url);
    let (began, name) = (Instant::now(), format!("backend {}", pid.unwrap()));
    wait_until("the name of who holds the lock", LONG, || {
        let _ = other.flush_within(std::time::Duration::from_millis(100));
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
