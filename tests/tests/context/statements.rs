//! A statement or an event that was built in a context keeps it, wherever it runs.

use audit_diesel::{Actor, AuditContext, AuditEvent, AuditedSaveChangesDsl, audited};
use audit_tests::app::sqlite::{App, Conn, app};
use audit_tests::app::{Account, NewAccount, accounts};
use diesel::prelude::*;

use super::{actor, actors, insert, user};

/// Runs it on a thread where no context is in force.
fn elsewhere<T: Send>(app: &App, run: impl FnOnce(&mut Conn) -> QueryResult<T> + Send) -> T {
    let conn = &mut app.pool.get().unwrap();
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            assert_eq!(actor(), None);
            let done = run(conn).unwrap();
            assert_eq!(actor(), None);
            done
        });
        thread.join().unwrap()
    })
}

/// Runs a statement elsewhere that user 7 has built, on a table with one account.
fn assert_keeps_its_context<S: Send>(
    build: impl FnOnce() -> S,
    run: impl FnOnce(S, &mut Conn) -> QueryResult<usize> + Send,
) {
    let app = app();
    user(1)
        .scope(|| insert(&mut app.pool.get().unwrap(), "a"))
        .unwrap();
    let statement = user(7).scope(build);
    assert_eq!(elsewhere(&app, |conn| run(statement, conn)), 1);
    assert_eq!(actors(&app), ["user:1", "user:7"]);
    assert_eq!(app.auditor.stats().without_actor, 0);
}

#[test]
fn an_insert_keeps_the_context_that_it_was_built_in() {
    assert_keeps_its_context(
        || audited::insert_into(accounts::table).values(NewAccount::new("b")),
        |insert, conn| insert.execute(conn),
    );
    assert_keeps_its_context(
        || audited::insert_into(accounts::table).default_values(),
        |insert, conn| insert.execute(conn),
    );
    assert_keeps_its_context(
        || {
            audited::insert_into(accounts::table)
                .values([NewAccount::new("a"), NewAccount::new("c")])
                .on_conflict(accounts::email)
                .do_nothing()
        },
        |insert, conn| insert.execute(conn),
    );
}

#[test]
fn an_update_keeps_the_context_that_it_was_built_in() {
    assert_keeps_its_context(
        || {
            audited::update(accounts::table)
                .filter(accounts::email.eq("a"))
                .set(accounts::balance.eq(4))
        },
        |update, conn| update.execute(conn),
    );
    assert_keeps_its_context(
        || {
            audited::update(accounts::table.filter(accounts::email.eq("a")))
                .set(accounts::balance.eq(5))
                .returning(accounts::balance)
        },
        |update, conn| update.get_results::<i64>(conn).map(|rows| rows.len()),
    );
}

#[test]
fn a_boxed_update_keeps_the_context_that_it_was_built_in() {
    let app = app();
    user(1)
        .scope(|| insert(&mut app.pool.get().unwrap(), "a"))
        .unwrap();
    let boxed = user(2).scope(|| {
        let boxed = audited::update(accounts::table).into_boxed();
        boxed
            .filter(accounts::email.eq("a"))
            .set(accounts::balance.eq(6))
    });
    let _: Account = elsewhere(&app, |conn| boxed.get_result(conn));
    assert_eq!(actors(&app), ["user:1", "user:2"]);
}

#[test]
fn a_delete_keeps_the_context_that_it_was_built_in() {
    assert_keeps_its_context(
        || audited::delete(accounts::table).filter(accounts::email.eq("a")),
        |delete, conn| delete.execute(conn),
    );
    let app = app();
    user(1)
        .scope(|| insert(&mut app.pool.get().unwrap(), "a"))
        .unwrap();
    let account: Account = accounts::table.first(&mut app.pool.get().unwrap()).unwrap();
    let delete = user(2).scope(|| audited::delete(&account).returning(accounts::id));
    elsewhere(&app, |conn| delete.execute(conn));
    assert_eq!(actors(&app), ["user:1", "user:2"]);
}

#[test]
fn a_statement_that_is_begun_before_the_scope_takes_the_context_that_completes_it() {
    let app = app();
    let begun = audited::insert_into(accounts::table);
    let insert = user(1).scope(|| begun.values(NewAccount::new("a")));
    elsewhere(&app, |conn| insert.execute(conn));
    let begun = user(1).scope(|| audited::update(accounts::table));
    let update = user(2).scope(|| begun.set(accounts::balance.eq(1)));
    elsewhere(&app, |conn| update.execute(conn));
    assert_eq!(actors(&app), ["user:1", "user:1"]);
    // One that says who acts is taken rather than one that does not.
    let nobody = AuditContext::default().request_id("r1");
    let begun = nobody.scope(|| audited::update(accounts::table));
    let update = user(3).scope(|| begun.set(accounts::balance.eq(2)));
    elsewhere(&app, |conn| update.execute(conn));
    let last = app.records().pop().unwrap();
    assert_eq!(last.context, user(3).request_id("r1"));
}

#[test]
fn where_it_runs_in_a_context_a_statement_belongs_to_that_one() {
    let app = app();
    let built = |email| {
        user(1)
            .organization("acme")
            .scope(|| audited::insert_into(accounts::table).values(NewAccount::new(email)))
    };
    let other = user(2).request_id("r2");
    elsewhere(&app, |conn| other.scope(|| built("a").execute(conn)));
    // One that names no actor is completed.
    let nobody = AuditContext::default()
        .request_id("r3")
        .organization("other");
    elsewhere(&app, |conn| nobody.scope(|| built("b").execute(conn)));
    assert_eq!(actors(&app), ["user:2", "user:1"]);
    let records = app.records();
    assert_eq!(records[0].context, other);
    let completed = user(1).organization("other").request_id("r3");
    assert_eq!(records[1].context, completed);
}

/// Neither no actor nor one who is unknown hides the one that was known where it was built.
#[test]
fn a_context_that_does_not_say_who_acts_hides_no_actor() {
    let app = app();
    let unknown = [
        Actor::unknown(),
        Actor::user(""),
        Actor::user(" "),
        Actor::new("", "7"),
    ];
    let here = unknown.map(|actor| AuditContext::new(actor).organization("other"));
    for context in [
        here.to_vec(),
        vec![AuditContext::default().organization("other")],
    ]
    .concat()
    {
        let email = format!("{context:?}");
        let built = || audited::insert_into(accounts::table).values(NewAccount::new(&email));
        let built = user(1).request_id("r1").scope(built);
        let event = user(2).scope(|| AuditEvent::new("login"));
        elsewhere(&app, |conn| {
            context.scope(|| {
                app.auditor.record(event).unwrap();
                built.execute(conn)
            })
        });
        let records = app.records();
        let [.., login, insert] = records.as_slice() else {
            panic!("two records")
        };
        assert_eq!(login.context, user(2).organization("other"));
        let completed = user(1).organization("other").request_id("r1");
        assert_eq!(insert.context, completed);
    }
    assert_eq!(app.auditor.stats().without_actor, 0);
}

#[test]
fn where_nobody_knows_who_acts_the_actor_is_unknown() {
    let app = app();
    let built = AuditContext::new(Actor::unknown())
        .scope(|| audited::insert_into(accounts::table).values(NewAccount::new("a")));
    let nobody = AuditContext::new(Actor::user(""));
    elsewhere(&app, |conn| nobody.scope(|| built.execute(conn)));
    assert_eq!(actors(&app), ["unknown"]);
    assert_eq!(app.auditor.stats().without_actor, 1);
}

#[test]
fn an_actor_without_an_id_may_be_one_who_is_known() {
    let app = app();
    let built =
        user(1).scope(|| audited::insert_into(accounts::table).values(NewAccount::new("a")));
    let job = AuditContext::new(Actor::system());
    elsewhere(&app, |conn| job.scope(|| built.execute(conn)));
    assert_eq!(actors(&app), ["system"]);
}

#[test]
fn a_statement_that_was_built_without_a_context_takes_the_one_where_it_runs() {
    let app = app();
    let insert = |email| audited::insert_into(accounts::table).values(NewAccount::new(email));
    let (first, second) = (insert("a"), insert("b"));
    elsewhere(&app, |conn| user(1).scope(|| first.execute(conn)));
    elsewhere(&app, |conn| second.execute(conn));
    assert_eq!(actors(&app), ["user:1", "unknown"]);
    assert_eq!(app.auditor.stats().without_actor, 1);
}

#[test]
fn what_a_statement_brings_along_ends_with_it() {
    let app = app();
    let built =
        user(1).scope(|| audited::insert_into(accounts::table).values(NewAccount::new("a")));
    let again = built.clone();
    let conn = &mut app.pool.get().unwrap();
    std::thread::scope(|scope| {
        let work = scope.spawn(|| {
            built.execute(conn).unwrap();
            // Also where it fails.
            again.execute(conn).unwrap_err();
            assert_eq!(actor(), None);
            insert(conn, "b").unwrap();
        });
        work.join().unwrap();
    });
    assert_eq!(actors(&app), ["user:1", "unknown"]);
}

#[test]
fn a_required_context_may_come_with_the_statement() {
    let app = app();
    let auditor = audit_diesel::Auditor::builder()
        .queue(app.queue.clone())
        .require_context()
        .build()
        .unwrap();
    auditor.attach(&mut app.pool.get().unwrap());
    let built =
        user(1).scope(|| audited::insert_into(accounts::table).values(NewAccount::new("a")));
    elsewhere(&app, |conn| built.execute(conn));
    assert_eq!(actors(&app), ["user:1"]);
}

#[test]
fn changes_that_are_saved_and_events_keep_their_context() {
    let app = app();
    let context = user(1);
    let saved = elsewhere(&app, |conn| {
        context.scope(|| insert(conn, "a"))?;
        let mut account: Account = accounts::table.first(conn)?;
        account.balance = 7;
        let save: QueryResult<Account> = user(2).scope(|| (&account).audited_save_changes(conn));
        save
    });
    assert_eq!(saved.balance, 7);
    let event = |id: &str| user(id).scope(|| AuditEvent::new("login"));
    let (at_once, in_transaction, other) = (event("3"), event("4"), event("5"));
    app.auditor.record(at_once).unwrap();
    elsewhere(&app, |conn| {
        conn.transaction(|conn| {
            app.auditor.record_in(conn, in_transaction).unwrap();
            user(6).scope(|| app.auditor.record_in(conn, other).unwrap());
            QueryResult::Ok(())
        })
    });
    let expected = ["user:1", "user:2", "user:3", "user:4", "user:6"];
    assert_eq!(actors(&app), expected);
}

/// Contexts are kept by number: the very one has to come back, however many there are.
#[test]
fn of_many_statements_on_many_threads_each_keeps_its_own_context() {
    let app = app();
    let statements: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4)
            .map(|thread| {
                scope.spawn(move || {
                    let build = move |number: i32| {
                        let id = thread * 1_000 + number;
                        AuditContext::new(Actor::user(id.to_string())).scope(|| {
                            audited::insert_into(accounts::table).values((
                                accounts::id.eq(id + 1),
                                accounts::email.eq(id.to_string()),
                            ))
                        })
                    };
                    (0..250).map(build).collect::<Vec<_>>()
                })
            })
            .collect();
        threads
            .into_iter()
            .flat_map(|it| it.join().unwrap())
            .collect()
    });
    elsewhere(&app, |conn| {
        conn.transaction(|conn| {
            for statement in statements.into_iter().rev() {
                statement.execute(conn)?;
            }
            Ok(())
        })
    });
    let records = app.records();
    assert_eq!(records.len(), 1_000);
    for record in records {
        let row: i32 = record.resource_id.unwrap().parse().unwrap();
        let actor = record.context.actor_ref().unwrap().id().to_owned();
        assert_eq!(actor, (row - 1).to_string());
    }
}
