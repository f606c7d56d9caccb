//! Pools of async applications run statements and closures on threads of their own, where no context
//! is in force.

use async_bb8_diesel::{AsyncConnection as _, AsyncRunQueryDsl as _};
use audit_diesel::{AuditContext, AuditEvent, audited};
use audit_tests::app::sqlite::{App, Conn, app};
use audit_tests::app::{NewAccount, accounts};
use diesel::prelude::*;

use super::{actor, actors, insert, user};

fn run(work: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(work);
}

fn path(app: &App) -> String {
    app.guard.path().join("app.db").display().to_string()
}

/// A request in an async application: its middleware attaches the context.
async fn request(id: u32, work: impl Future<Output = ()>) {
    user(id).attach_to(work).await;
}

/// An application with one account that statements can be tried on.
fn app_with_a_row() -> App {
    let app = app();
    let row = diesel::insert_into(accounts::table).values(NewAccount::new("a"));
    row.execute(&mut Conn::establish(&path(&app)).unwrap())
        .unwrap();
    app
}

async fn deadpool(app: &App) -> deadpool_diesel::sqlite::Pool {
    let manager =
        deadpool_diesel::sqlite::Manager::new(path(app), deadpool_diesel::Runtime::Tokio1);
    let auditor = app.auditor.clone();
    let attach = deadpool_diesel::sqlite::Hook::async_fn(move |conn, _| {
        let auditor = auditor.clone();
        Box::pin(async move {
            let attached = conn.interact(move |conn| auditor.attach(conn)).await;
            attached.map_err(|error| deadpool_diesel::sqlite::HookError::message(error.to_string()))
        })
    });
    deadpool_diesel::sqlite::Pool::builder(manager)
        .max_size(2)
        .post_create(attach)
        .build()
        .unwrap()
}

#[test]
fn a_statement_of_a_request_keeps_its_actor_through_spawn_and_spawn_blocking() {
    let app = app_with_a_row();
    let pool = app.pool.clone();
    run(request(1, async move {
        let conn = pool.get().unwrap();
        let update = audited::update(accounts::table).set(accounts::balance.eq(1));
        let on_another_thread = |mut conn| move || update.execute(&mut conn).unwrap();
        tokio::task::spawn_blocking(on_another_thread(conn))
            .await
            .unwrap();

        let mut conn = pool.get().unwrap();
        let update = audited::update(accounts::table).set(accounts::balance.eq(2));
        let task = tokio::spawn(async move {
            assert_eq!(actor(), None);
            update.execute(&mut conn).unwrap()
        });
        task.await.unwrap();
    }));
    assert_eq!(actors(&app), ["user:1", "user:1"]);
}

#[test]
fn a_statement_of_a_request_keeps_its_actor_through_deadpools_interact() {
    let app = app_with_a_row();
    run(request(1, async {
        let conn = deadpool(&app).await.get().await.unwrap();
        let update = audited::update(accounts::table).set(accounts::balance.eq(1));
        let done = conn.interact(move |conn| update.execute(conn)).await;
        assert_eq!(done.unwrap().unwrap(), 1);
        let delete = audited::delete(accounts::table);
        let done = conn.interact(|conn| delete.execute(conn)).await;
        assert_eq!(done.unwrap().unwrap(), 1);
    }));
    assert_eq!(actors(&app), ["user:1", "user:1"]);
}

#[test]
fn wrap_carries_the_actor_into_what_is_built_inside_interact() {
    let app = app_with_a_row();
    let auditor = app.auditor.clone();
    run(request(1, async {
        let conn = deadpool(&app).await.get().await.unwrap();
        let context = AuditContext::current().request_id("r1");
        let work = context.wrap(move |conn: &mut Conn| {
            conn.transaction(|conn| {
                audited::update(accounts::table)
                    .set(accounts::balance.eq(1))
                    .execute(conn)?;
                auditor.record_in(conn, AuditEvent::new("done")).unwrap();
                audit_diesel::exempt(conn, "a backfill", |conn| {
                    diesel::update(accounts::table)
                        .set(accounts::balance.eq(2))
                        .execute(conn)
                })
            })
        });
        assert_eq!(conn.interact(work).await.unwrap().unwrap(), 1);

        fn named(conn: &mut Conn) -> QueryResult<usize> {
            insert(conn, "b")
        }
        conn.interact(user(2).wrap(named)).await.unwrap().unwrap();
        // The pool's thread keeps nothing.
        conn.interact(|conn| insert(conn, "c"))
            .await
            .unwrap()
            .unwrap();
    }));
    let expected = ["user:1", "user:1", "user:1", "user:2", "unknown"];
    assert_eq!(actors(&app), expected);
    let records = app.records();
    let of_request = |record: &audit_diesel::Record| record.context.request_id_ref() == Some("r1");
    assert_eq!(records.iter().filter(|it| of_request(it)).count(), 3);
}

#[test]
fn a_statement_of_a_request_keeps_its_actor_through_bb8s_execute_async() {
    let app = app_with_a_row();
    run(request(1, async {
        let manager = async_bb8_diesel::ConnectionManager::<Conn>::new(path(&app));
        let pool = bb8::Pool::builder()
            .max_size(1)
            .build(manager)
            .await
            .unwrap();
        let conn = pool.get().await.unwrap();
        let auditor = app.auditor.clone();
        let attach = move |conn: &mut Conn| {
            auditor.attach(conn);
            QueryResult::Ok(())
        };
        conn.run(attach).await.unwrap();

        let update = audited::update(accounts::table).set(accounts::balance.eq(1));
        update.execute_async(&*conn).await.unwrap();
        let update = audited::update(accounts::table).set(accounts::balance.eq(2));
        let returning = update.returning(accounts::balance);
        let balances: Vec<i64> = returning.get_results_async(&*conn).await.unwrap();
        assert_eq!(balances, [2]);
        conn.transaction_async(|conn| async move {
            audited::insert_into(accounts::table)
                .values(NewAccount::new("b"))
                .execute_async(&conn)
                .await?;
            // What is built by the pool's thread has to be wrapped.
            conn.run(AuditContext::current().wrap(|conn: &mut Conn| insert(conn, "c")))
                .await
        })
        .await
        .unwrap();
    }));
    assert_eq!(actors(&app), ["user:1"; 4]);
}

#[test]
fn wrap_carries_the_actor_into_a_future_that_is_spawned_and_a_scoped_thread() {
    run(async {
        let spawned = request(1, async {
            let task = AuditContext::current().wrap(async {
                tokio::task::yield_now().await;
                assert_eq!(actor().as_deref(), Some("1"));
            });
            tokio::spawn(task).await.unwrap();
        });
        spawned.await;
        let borrowed = String::from("not 'static");
        std::thread::scope(|scope| {
            let seen = scope.spawn(user(2).wrap(|| (actor(), borrowed.len())));
            assert_eq!(seen.join().unwrap(), (Some("2".to_owned()), 11));
        });
    });
}
