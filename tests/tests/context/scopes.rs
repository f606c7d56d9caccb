//! Scopes, threads and tasks: which context is in force.

use std::future::Future as _;
use std::panic::{AssertUnwindSafe, catch_unwind};

use audit_diesel::{Actor, AuditContext, AuditError, Auditor, MemoryQueue, Source};
use audit_tests::app::accounts;
use audit_tests::app::sqlite::app;
use diesel::prelude::*;

use super::{actor, actors, insert, user};

#[test]
fn an_inner_scope_adds_every_field_to_the_outer_one() {
    let ip = std::net::IpAddr::from([192, 0, 2, 7]);
    let outer = user(1)
        .organization("acme")
        .project("p1")
        .ip(ip)
        .source(Source::Api)
        .api_key_id("k1")
        .oauth_client_id("c1")
        .request_id("r1")
        .with("endpoint", "/outer")
        .with("outer", true);
    let inner = user(2)
        .organization("other")
        .project("p2")
        .ip([10, 0, 0, 1])
        .source(Source::Job)
        .api_key_id("k2")
        .oauth_client_id("c2")
        .request_id("r2")
        .with("endpoint", "/inner");
    outer.scope(|| {
        AuditContext::default().scope(|| assert_eq!(AuditContext::current(), outer));
        inner.scope(|| {
            assert_eq!(AuditContext::current(), inner.clone().with("outer", true));
        });
        assert_eq!(AuditContext::current(), outer);
        let one_field = [
            (
                AuditContext::default().actor(Actor::user("3")),
                outer.clone().actor(Actor::user("3")),
            ),
            (
                AuditContext::default().organization("x"),
                outer.clone().organization("x"),
            ),
            (
                AuditContext::default().project("x"),
                outer.clone().project("x"),
            ),
            (
                AuditContext::default().ip([10, 9, 9, 9]),
                outer.clone().ip([10, 9, 9, 9]),
            ),
            (
                AuditContext::default().source(Source::Cli),
                outer.clone().source(Source::Cli),
            ),
            (
                AuditContext::default().api_key_id("x"),
                outer.clone().api_key_id("x"),
            ),
            (
                AuditContext::default().oauth_client_id("x"),
                outer.clone().oauth_client_id("x"),
            ),
            (
                AuditContext::default().request_id("x"),
                outer.clone().request_id("x"),
            ),
            (
                AuditContext::default().with("x", 1),
                outer.clone().with("x", 1),
            ),
        ];
        for (inner, expected) in one_field {
            inner.scope(|| assert_eq!(AuditContext::current(), expected));
        }
    });
    assert!(AuditContext::current().is_empty());
}

#[test]
fn a_scope_ends_by_return_by_question_mark_and_by_panic() {
    fn fails() -> Result<(), std::num::ParseIntError> {
        user(1).scope(|| {
            "no number".parse::<i32>()?;
            Ok(())
        })
    }
    fails().unwrap_err();
    assert_eq!(actor(), None);
    let guarded = || {
        let _guard = user(1).enter();
        "no number".parse::<i32>()
    };
    guarded().unwrap_err();
    assert_eq!(actor(), None);
    user(1).scope(|| {
        let panicked = catch_unwind(|| user(2).scope(|| panic!("on purpose")));
        assert!(panicked.is_err());
        assert_eq!(actor().as_deref(), Some("1"));
    });
    assert_eq!(actor(), None);
}

#[test]
fn guards_may_be_dropped_in_any_order() {
    let (first, second) = (user(1).enter(), user(2).enter());
    drop(first);
    assert_eq!(actor().as_deref(), Some("2"));
    drop(second);
    assert_eq!(actor(), None);
    let mut guard = user(3).enter();
    assert_eq!(actor().as_deref(), Some("3"));
    guard = {
        let next = user(4).enter();
        drop(guard);
        next
    };
    assert_eq!(actor().as_deref(), Some("4"));
    drop(guard);
    assert_eq!(actor(), None);
}

#[test]
fn a_guard_that_is_never_dropped_ends_with_the_scope_around_it() {
    user(1).scope(|| std::mem::forget(user(2).enter()));
    assert_eq!(actor(), None);
    std::thread::spawn(user(1).wrap(|| std::mem::forget(user(2).enter())))
        .join()
        .unwrap();
}

#[test]
fn wrap_carries_the_context_to_a_thread_and_does_not_mix_it_with_what_is_there() {
    let work = user(1).scope(|| {
        AuditContext::default()
            .project("p1")
            .wrap(AuditContext::current)
    });
    let there = std::thread::spawn(move || {
        user(2).organization("of the thread").scope(|| {
            let inside = work();
            assert_eq!(actor().as_deref(), Some("2"));
            inside
        })
    });
    assert_eq!(there.join().unwrap(), user(1).project("p1"));
    let panics = user(1).wrap(|| panic!("on purpose"));
    assert!(catch_unwind(AssertUnwindSafe(panics)).is_err());
    assert_eq!(actor(), None);
}

#[test]
fn tasks_that_interleave_on_two_threads_see_their_own_actor_at_every_step() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .build()
        .unwrap();
    runtime.block_on(async {
        let mut tasks = Vec::new();
        for number in 0..200 {
            let expected = (number % 4 != 0).then(|| number.to_string());
            let steps = steps_of(expected.clone());
            tasks.push(match &expected {
                Some(id) => tokio::spawn(user(id).attach_to(steps)),
                None => tokio::spawn(steps),
            });
        }
        for task in tasks {
            task.await.unwrap();
        }
        assert_eq!(actor(), None);
    });
}

async fn steps_of(expected: Option<String>) {
    for step in 0..50 {
        assert_eq!(actor(), expected);
        AuditContext::default()
            .request_id("r")
            .scope(|| assert_eq!(actor(), expected));
        tokio::task::yield_now().await;
        if step % 10 == 0 {
            let nested = user("nested").attach_to(async {
                tokio::task::yield_now().await;
                actor()
            });
            assert_eq!(nested.await.as_deref(), Some("nested"));
            let blocking = AuditContext::current().wrap(actor);
            assert_eq!(
                tokio::task::spawn_blocking(blocking).await.unwrap(),
                expected
            );
            // The blocking thread keeps nothing, nor does a task of its own inherit anything.
            assert_eq!(tokio::task::spawn_blocking(actor).await.unwrap(), None);
            assert_eq!(tokio::spawn(async { actor() }).await.unwrap(), None);
        }
    }
    assert_eq!(actor(), expected);
}

#[test]
fn a_task_that_panics_leaves_nothing_behind() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .build()
        .unwrap();
    runtime.block_on(async {
        let panics = user(1).attach_to(async {
            tokio::task::yield_now().await;
            std::mem::forget(user(2).enter());
            panic!("on purpose")
        });
        let task: tokio::task::JoinHandle<()> = tokio::spawn(panics);
        assert!(task.await.is_err());
        assert_eq!(tokio::spawn(async { actor() }).await.unwrap(), None);
    });
}

/// Says on drop who acts.
struct SaysAtTheEnd(std::sync::mpsc::Sender<Option<String>>);

impl Drop for SaysAtTheEnd {
    fn drop(&mut self) {
        self.0.send(actor()).unwrap();
    }
}

/// What a request has begun is cleaned up as its own, whoever gives it up.
#[test]
fn a_future_that_is_dropped_half_way_is_dropped_in_its_context() {
    use std::task::{Context, Poll, Waker};

    let (says, said) = std::sync::mpsc::channel();
    let guard = SaysAtTheEnd(says);
    let mut task = Box::pin(user(1).attach_to(async move {
        let _guard = guard;
        std::future::pending::<()>().await;
    }));
    let polled = task.as_mut().poll(&mut Context::from_waker(Waker::noop()));
    assert_eq!(polled, Poll::Pending);
    user(2).scope(|| drop(task));
    assert_eq!(said.recv().unwrap().as_deref(), Some("1"));
    assert_eq!(actor(), None);
}

#[test]
fn a_pooled_connection_brings_nothing_from_the_request_before() {
    let app = app();
    user(1).scope(|| insert(&mut app.pool.get().unwrap(), "a").unwrap());
    insert(&mut app.pool.get().unwrap(), "b").unwrap();
    user(2).scope(|| insert(&mut app.pool.get().unwrap(), "c").unwrap());
    assert_eq!(app.pool.state().connections, 1);
    assert_eq!(actors(&app), ["user:1", "unknown", "user:2"]);
}

/// A record has the context in force at its statement, not at COMMIT.
#[test]
fn statements_of_one_transaction_in_different_contexts() {
    let app = app();
    let conn = &mut app.pool.get().unwrap();
    conn.transaction(|conn| {
        user(1).scope(|| insert(conn, "a"))?;
        user(2).scope(|| insert(conn, "b"))
    })
    .unwrap();
    assert_eq!(actors(&app), ["user:1", "user:2"]);
}

#[test]
fn a_required_context_is_missed_before_anything_is_written() {
    let app = app();
    let conn = &mut app.pool.get().unwrap();
    let queue = MemoryQueue::new();
    let auditor = Auditor::builder()
        .queue(queue.clone())
        .require_context()
        .build()
        .unwrap();
    auditor.attach(conn);
    for context in [
        AuditContext::default(),
        user(" "),
        AuditContext::new(Actor::unknown()),
        AuditContext::new(Actor::new(" ", "1")),
    ] {
        let error = context.scope(|| insert(conn, "ada")).unwrap_err();
        assert!(matches!(
            AuditError::of(&error),
            Some(AuditError::NoContext)
        ));
        let event = || auditor.record(audit_diesel::AuditEvent::new("x"));
        assert!(matches!(context.scope(event), Err(AuditError::NoContext)));
    }
    assert_eq!(accounts::table.count().get_result::<i64>(conn).unwrap(), 0);
    AuditContext::new(Actor::system()).scope(|| insert(conn, "ada").unwrap());
    assert_eq!(queue.records().unwrap().len(), 1);
}

#[test]
fn an_empty_actor_is_unknown_and_counted() {
    let app = app();
    let conn = &mut app.pool.get().unwrap();
    user("")
        .organization("acme")
        .scope(|| insert(conn, "a").unwrap());
    AuditContext::new(Actor::anonymous()).scope(|| insert(conn, "b").unwrap());
    assert_eq!(actors(&app), ["unknown", "anonymous"]);
    assert_eq!(app.records()[0].context.organization_ref(), Some("acme"));
    assert_eq!(app.auditor.stats().without_actor, 1);
    let warnings = app.auditor.warnings();
    let names_it = |warning: &audit_diesel::Warning| warning.problem.contains("without an actor");
    assert_eq!(warnings.iter().filter(|it| names_it(it)).count(), 1);
}

#[test]
fn an_ip_that_is_none_is_a_clear_error() {
    for text in ["", "localhost", "192.0.2.7:80", "192.0.2.256", " 192.0.2.7"] {
        let error = AuditContext::default().ip_text(text).unwrap_err();
        assert!(error.to_string().contains("without port"), "{error}");
    }
    let context = AuditContext::default().ip_text("2001:db8::7").unwrap();
    assert_eq!(context.ip_ref().unwrap().to_string(), "2001:db8::7");
}
