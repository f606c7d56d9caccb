//! Whatever panics on the way of a record, the application's statement and COMMIT are unharmed.

use std::panic::{AssertUnwindSafe, catch_unwind, panic_any};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use audit_diesel::{AuditEvent, Auditor, MemoryQueue};
use audit_tests::app::accounts;
use audit_tests::{Call, Hooked};
use diesel::connection::{Instrumentation, InstrumentationEvent};
use diesel::prelude::*;
use diesel::result::Error;

use super::{Conn, app};
use crate::support::{NO, add, added, assert_kept};

/// Panics again when somebody drops it.
struct Bomb(u32);

impl Drop for Bomb {
    fn drop(&mut self) {
        if self.0 > 0 {
            panic_any(Self(self.0 - 1));
        }
    }
}

fn emails(conn: &mut Conn) -> Vec<String> {
    accounts::table
        .select(accounts::email)
        .order(accounts::id)
        .load(conn)
        .unwrap()
}

#[test]
fn a_queue_that_panics_harms_neither_statement_nor_commit_and_is_counted() {
    let kinds: [fn(); 3] = [
        || panic!("of the queue"),
        || panic_any(7),
        || panic_any(Bomb(2)),
    ];
    for panics in kinds {
        let app = app();
        let hooked = Hooked::new(MemoryQueue::new(), move |call| {
            if let Call::Push(_) = call {
                panics();
            }
            Ok(())
        });
        let auditor = Auditor::builder().queue(hooked).build().unwrap();
        let conn = &mut app.pool.get().unwrap();
        auditor.attach(conn);
        add!(conn, "by itself");
        conn.transaction::<_, Error, _>(|conn| {
            add!(conn, "in a transaction");
            add!(conn, "beside it");
            Ok(())
        })
        .unwrap();
        let _: Result<(), Error> = conn.transaction(|conn| {
            add!(conn, "rolled back");
            Err(NO)
        });
        assert_eq!(emails(conn), ["by itself", "in a transaction", "beside it"]);
        let refused = auditor.record(AuditEvent::new("login")).unwrap_err();
        assert!(refused.to_string().contains("panicked"), "{refused}");
        let stats = auditor.stats();
        assert_eq!((stats.published, stats.failed), (0, 3), "{stats:?}");
        assert_eq!((stats.discarded, stats.panics), (1, 3), "{stats:?}");
    }
}

#[test]
fn a_queue_that_panics_does_so_to_nobody_who_asks_the_auditor() {
    let hooked = Hooked::new(MemoryQueue::new(), |_| panic!("of the queue"));
    let auditor = Auditor::builder().queue(hooked).build().unwrap();
    let queue = auditor.queue();
    assert!(queue.peek(1).unwrap_err().to_string().contains("panicked"));
    assert!(queue.len().is_err() && queue.is_empty().is_err());
    assert!(!format!("{auditor:?}").is_empty());
}

/// A subscriber that panics at everything it is told.
struct Panicking;

impl tracing::Subscriber for Panicking {
    fn enabled(&self, _: &tracing::Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        tracing::span::Id::from_u64(1)
    }

    fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}

    fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}

    fn event(&self, _: &tracing::Event<'_>) {
        panic_any(Bomb(1));
    }

    fn enter(&self, _: &tracing::span::Id) {}

    fn exit(&self, _: &tracing::span::Id) {}
}

#[test]
fn a_subscriber_that_panics_harms_nobody() {
    let app = app();
    let conn = &mut app.pool.get().unwrap();
    let broken = Auditor::builder()
        .queue(Hooked::new(MemoryQueue::new(), |_| panic!("of the queue")))
        .build()
        .unwrap();
    tracing::subscriber::with_default(Panicking, || {
        // Without an actor, which is said.
        conn.transaction::<_, Error, _>(|conn| {
            add!(conn, "in a transaction");
            Ok(())
        })
        .unwrap();
        assert_kept!(app, conn, ["in a transaction"]);
        broken.attach(conn);
        add!(conn, "by itself");
    });
    assert_eq!(broken.stats().failed, 1);
}

/// Panics at the queries that have run.
struct Chained(Arc<AtomicBool>);

impl Instrumentation for Chained {
    fn on_connection_event(&mut self, event: InstrumentationEvent<'_>) {
        if let InstrumentationEvent::FinishQuery { .. } = event
            && self.0.load(Ordering::SeqCst)
        {
            panic!("of the chained instrumentation");
        }
    }
}

#[test]
fn a_chained_instrumentation_that_panics_takes_no_record_away() {
    let app = app();
    let conn = &mut app.pool.get().unwrap();
    conn.set_instrumentation(diesel::connection::get_default_instrumentation());
    let armed = Arc::new(AtomicBool::new(false));
    app.auditor
        .attach_chained(conn, Some(Box::new(Chained(Arc::clone(&armed)))));
    let panicking = |conn: &mut Conn, run: &dyn Fn(&mut Conn)| {
        let caught = catch_unwind(AssertUnwindSafe(|| {
            armed.store(true, Ordering::SeqCst);
            run(conn);
        }));
        armed.store(false, Ordering::SeqCst);
        assert!(caught.is_err(), "the panic is the application's own");
    };
    panicking(conn, &|conn| {
        add!(conn, "by itself");
    });
    conn.transaction::<_, Error, _>(|conn| {
        panicking(conn, &|conn| {
            add!(conn, "in a transaction");
        });
        Ok(())
    })
    .unwrap();
    diesel::sql_query("BEGIN").execute(conn).unwrap();
    add!(conn, "at commit");
    panicking(conn, &|conn| {
        drop(diesel::sql_query("COMMIT").execute(conn));
    });
    assert_kept!(app, conn, ["by itself", "in a transaction", "at commit"]);
}

/// The statement's own panic is over, and those of the chained instrumentation reach the application again.
#[test]
fn a_panic_inside_of_a_statement_hides_no_later_one() {
    let app = app();
    let conn = &mut app.pool.get().unwrap();
    let armed = Arc::new(AtomicBool::new(false));
    let is_armed = Arc::clone(&armed);
    let chained = move |event: InstrumentationEvent<'_>| {
        let panics = match event {
            InstrumentationEvent::StartQuery { query, .. } => {
                query.to_string().starts_with("INSERT INTO") && !is_armed.load(Ordering::SeqCst)
            }
            InstrumentationEvent::FinishQuery { .. } => is_armed.load(Ordering::SeqCst),
            _ => false,
        };
        assert!(!panics, "of the chained instrumentation");
    };
    app.auditor.attach_chained(conn, Some(Box::new(chained)));
    catch_unwind(AssertUnwindSafe(|| add!(conn, "not sent"))).unwrap_err();
    armed.store(true, Ordering::SeqCst);
    let raw = catch_unwind(AssertUnwindSafe(|| {
        drop(diesel::sql_query("SELECT 1").execute(conn));
    }));
    armed.store(false, Ordering::SeqCst);
    assert!(raw.is_err(), "the panic is the application's own");
}

#[test]
fn the_consumer_outlives_a_queue_that_panics_and_says_since_when_it_fails() {
    let app = app();
    let broken = Arc::new(AtomicU32::new(1));
    let is_broken = Arc::clone(&broken);
    let hooked = Hooked::new(MemoryQueue::new(), move |call| {
        if matches!(call, Call::Peek(_) | Call::Ack(_)) && is_broken.load(Ordering::SeqCst) > 0 {
            panic_any(Bomb(1));
        }
        Ok(())
    });
    let auditor = Auditor::builder().queue(hooked.clone()).build().unwrap();
    auditor.record(AuditEvent::new("login")).unwrap();
    for queue in [auditor.queue(), Arc::new(hooked) as _] {
        broken.store(1, Ordering::SeqCst);
        let consumer = audit_diesel::Consumer::builder(queue, app.pool.clone())
            .spawn()
            .unwrap();
        audit_tests::wait_until("a failure", audit_tests::LONG, || {
            consumer.stats().failing_since.is_some()
        });
        let failing = consumer.stats();
        assert!(
            failing.running && failing.last_error.is_some(),
            "{failing:?}"
        );
        broken.store(0, Ordering::SeqCst);
        consumer.flush().unwrap();
        let stats = consumer.stats();
        assert_eq!((stats.failing_since, stats.last_error), (None, None));
        consumer.stop().unwrap();
        auditor.record(AuditEvent::new("again")).unwrap();
    }
    assert_eq!(added(&app.records()), [""; 0]);
}
