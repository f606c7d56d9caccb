//! What only PostgreSQL has.

use std::sync::mpsc;
use std::thread;

use audit_diesel::{Auditable, audited};
use audit_tests::app::{Account, accounts};
use diesel::connection::{Instrumentation, InstrumentationEvent, SimpleConnection};
use diesel::prelude::*;
use diesel::result::{DatabaseErrorKind, Error};
use diesel::sql_types::BigInt;

use super::{App, Conn, app};

fn seed(app: &App, emails: &[&str]) {
    let conn = &mut app.pool.get().unwrap();
    for email in emails {
        audited::insert_into(accounts::table)
            .values((accounts::email.eq(*email), accounts::balance.eq(10)))
            .execute(conn)
            .unwrap();
    }
}

/// A connection whose queries are told to the receiver.
fn watched(app: &App) -> (Conn, mpsc::Receiver<String>) {
    let (sender, queries) = mpsc::channel();
    let mut conn = app.guard.connection();
    let watch = move |event: InstrumentationEvent<'_>| {
        if let InstrumentationEvent::StartQuery { query, .. } = event {
            let _ = sender.send(query.to_string());
        }
    };
    let watch: Box<dyn Instrumentation> = Box::new(watch);
    app.auditor.attach_chained(&mut conn, Some(watch));
    (conn, queries)
}

fn prepared(conn: &mut Conn) -> i64 {
    diesel::select(diesel::dsl::sql::<BigInt>(
        "(SELECT count(*) FROM pg_prepared_statements WHERE statement LIKE '%accounts%')",
    ))
    .get_result(conn)
    .unwrap()
}

/// A statement that is not prepared once and for all costs a second round trip each time. Inserts
/// of structs are prepared each time, as Diesel's: which columns they leave to the database varies.
/// Only where nothing else would tell that a trigger has begun to route rows, the relation is looked at
/// once more: after an insert that skipped its row, and before one from a select.
#[test]
fn one_statement_prepared_once() {
    let app = app();
    seed(&app, &["ada"]);
    let (conn, queries) = &mut watched(&app);
    // The first update of a model asks whether its key tells rows apart.
    audited::update(accounts::table.find(1))
        .set(accounts::role.eq("first"))
        .execute(conn)
        .unwrap();
    let check_looking = |conn: &mut Conn, looks: usize, run: &dyn Fn(&mut Conn, i32)| {
        let before = prepared(conn);
        for turn in 0..3 {
            let _ = queries.try_iter().count();
            run(conn, turn);
            let seen: Vec<_> = queries.try_iter().collect();
            assert_eq!(seen.len(), 1 + looks, "{seen:?}");
        }
        assert_eq!(prepared(conn), before + 1);
    };
    let check = |conn: &mut Conn, run: &dyn Fn(&mut Conn, i32)| check_looking(conn, 0, run);
    check(conn, &|conn, turn| {
        let balance = i64::from(turn);
        audited::update(accounts::table.find(1))
            .set(accounts::balance.eq(balance))
            .execute(conn)
            .unwrap();
    });
    check(conn, &|conn, turn| {
        let row: Account =
            audited::update(accounts::table.filter(accounts::id.eq_any(vec![1, turn])))
                .set((
                    accounts::balance.eq(accounts::balance + 1),
                    accounts::role.eq("x"),
                ))
                .get_result(conn)
                .unwrap();
        assert_eq!(row.id, 1);
    });
    check(conn, &|conn, turn| {
        let email = format!("new {turn}");
        audited::insert_into(accounts::table)
            .values((accounts::email.eq(&email), accounts::balance.eq(1)))
            .execute(conn)
            .unwrap();
    });
    check_looking(conn, 1, &|conn, turn| {
        let email = format!("new {turn}");
        audited::insert_into(accounts::table)
            .values((accounts::email.eq(&email), accounts::balance.eq(1)))
            .on_conflict_do_nothing()
            .execute(conn)
            .unwrap();
    });
    check_looking(conn, 1, &|conn, turn| {
        let email = format!("select {turn}");
        let values = accounts::table
            .find(1)
            .select(email.into_sql::<diesel::sql_types::Text>());
        audited::insert_into(accounts::table)
            .values(values)
            .into_columns(accounts::email)
            .execute(conn)
            .unwrap();
    });
    check(conn, &|conn, turn| {
        let gone: Account = audited::delete(accounts::table.find(turn + 2))
            .get_result(conn)
            .unwrap();
        assert_eq!(gone.id, turn + 2);
    });
}

/// A plain UPDATE does not block them either.
#[test]
fn an_open_update_does_not_block_who_refers_to_the_row() {
    let app = app();
    seed(&app, &["ada"]);
    let (one, other) = (&mut app.pool.get().unwrap(), &mut app.guard.connection());
    other
        .batch_execute(
            "CREATE TABLE orders (account integer REFERENCES accounts);
             SET lock_timeout = '60s'",
        )
        .unwrap();
    one.transaction(|one| {
        audited::update(accounts::table.find(1))
            .set(accounts::balance.eq(11))
            .execute(one)?;
        other.batch_execute("INSERT INTO orders VALUES (1)")
    })
    .unwrap();
}

/// The writer that waited sees what the other one left behind: the row fits no longer.
#[test]
fn a_row_that_changed_while_waiting() {
    let app = app();
    seed(&app, &["ada"]);
    let one = &mut app.pool.get().unwrap();
    let (locked, wait) = mpsc::channel();
    thread::scope(|scope| {
        let waiting = one
            .transaction::<_, Error, _>(|one| {
                audited::update(accounts::table.find(1))
                    .set(accounts::role.eq("admin"))
                    .execute(one)?;
                let waiting = scope.spawn(|| {
                    let conn = &mut app.pool.get().unwrap();
                    locked.send(backend_pid(conn)).unwrap();
                    audited::update(accounts::table.filter(accounts::role.eq("member")))
                        .set(accounts::role.eq("owner"))
                        .execute(conn)
                });
                wait_for_lock(one, wait.recv().unwrap());
                Ok(waiting)
            })
            .unwrap();
        assert_eq!(waiting.join().unwrap(), Ok(0));
    });
    assert_eq!(app.records().len(), 2);
}

fn backend_pid(conn: &mut Conn) -> i32 {
    diesel::select(diesel::dsl::sql::<diesel::sql_types::Integer>(
        "pg_backend_pid()",
    ))
    .get_result(conn)
    .unwrap()
}

fn wait_for_lock(conn: &mut Conn, pid: i32) {
    let blocked = diesel::select(diesel::dsl::sql::<diesel::sql_types::Bool>(&format!(
        "cardinality(pg_blocking_pids({pid})) > 0"
    )));
    let waits = || blocked.clone().get_result::<bool>(conn).unwrap();
    audit_tests::wait_until("a writer that waits", audit_tests::LONG, waits);
}

#[test]
fn old_values_are_true_with_retries() {
    let app = app();
    seed(&app, &["ada", "bob"]);
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                let conn = &mut app.pool.get().unwrap();
                (0..10).for_each(|_| increment(conn));
            });
        }
    });
    let steps = |id: &str| {
        let of_row = app.records().into_iter().filter(|r| r.action == "update");
        let mut steps: Vec<_> = of_row
            .filter(|r| r.resource_id.as_deref() == Some(id))
            .map(|r| r.changes.unwrap().to_value().unwrap()["balance"].clone())
            .map(|b| (b["old"].as_i64().unwrap(), b["new"].as_i64().unwrap()))
            .collect();
        steps.sort_unstable();
        steps
    };
    let expected: Vec<_> = (10..90).map(|old| (old, old + 1)).collect();
    assert_eq!(steps("1"), expected);
    assert_eq!(steps("2"), expected);
}

/// Both rows in one SERIALIZABLE transaction, again until it succeeds.
fn increment(conn: &mut Conn) {
    loop {
        let result = conn.build_transaction().serializable().run(|conn| {
            let balance: i64 = accounts::table
                .find(1)
                .select(accounts::balance)
                .first(conn)?;
            audited::update(accounts::table.find(1))
                .set(accounts::balance.eq(balance + 1))
                .execute(conn)?;
            audited::update(accounts::table.find(2))
                .set(accounts::balance.eq(accounts::balance + 1))
                .execute(conn)
        });
        match result {
            Ok(_) => return,
            Err(Error::DatabaseError(DatabaseErrorKind::SerializationFailure, _)) => {}
            Err(error) => panic!("{error:?}"),
        }
    }
}

mod auth {
    diesel::table! {
        auth.users (id) {
            id -> Integer,
            #[sql_name = "type"]
            kind -> Text,
        }
    }
    diesel::table! {
        auth.audit_old (id) {
            id -> Integer,
            old -> Nullable<Text>,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Queryable, Selectable, Identifiable, Insertable, Auditable)]
#[diesel(table_name = auth::users)]
struct User {
    id: i32,
    kind: String,
}

#[derive(Debug, Queryable, Selectable, Identifiable, Auditable)]
#[diesel(table_name = auth::audit_old)]
struct AuditOld {
    id: i32,
    old: Option<String>,
}

#[test]
fn a_table_in_a_schema() {
    let app = app();
    let conn = &mut app.pool.get().unwrap();
    conn.batch_execute(
        "CREATE SCHEMA auth;
         CREATE TABLE auth.users (id integer PRIMARY KEY, type text NOT NULL);
         CREATE TABLE auth.audit_old (id integer PRIMARY KEY, old text);
         INSERT INTO auth.audit_old VALUES (1, 'a')",
    )
    .unwrap();
    let ada = User {
        id: 1,
        kind: "a".to_owned(),
    };
    let insert = || audited::insert_into(auth::users::table).values(&ada);
    assert_eq!(insert().execute(conn), Ok(1));
    assert_eq!(
        insert()
            .on_conflict(auth::users::id)
            .do_nothing()
            .execute(conn),
        Ok(0)
    );
    let updated: User = audited::update(&ada)
        .set(auth::users::kind.eq("b"))
        .get_result(conn)
        .unwrap();
    assert_eq!(updated.kind, "b");
    assert_eq!(audited::delete(&updated).execute(conn), Ok(1));
    let update =
        audited::update(auth::audit_old::table).set(auth::audit_old::old.eq(None::<String>));
    assert_eq!(update.execute(conn), Ok(1));
    let trail = app.trail();
    let of_tables: Vec<_> = trail
        .iter()
        .filter(|line| line.contains(" auth."))
        .collect();
    assert_eq!(
        of_tables,
        [
            r#"insert auth.users 1 {"id":{"new":1},"type":{"new":"a"}}"#,
            r#"update auth.users 1 {"type":{"old":"a","new":"b"}}"#,
            r#"delete auth.users 1 {"id":{"old":1},"type":{"old":"b"}}"#,
            r#"update auth.audit_old 1 {"old":{"old":"a","new":null}}"#,
        ]
    );
}

/// Where each row gets another key at once, the old row is still found.
#[test]
fn several_changed_keys() {
    let app = app();
    seed(&app, &["ada", "bob"]);
    let conn = &mut app.pool.get().unwrap();
    let count = audited::update(accounts::table)
        .set(accounts::id.eq(accounts::id + 10))
        .execute(conn);
    assert_eq!(count, Ok(2));
    let mut trail = app.trail().split_off(2);
    trail.sort();
    assert_eq!(
        trail,
        [
            r#"update accounts 1 {"id":{"old":1,"new":11}}"#,
            r#"update accounts 2 {"id":{"old":2,"new":12}}"#
        ]
    );
}

/// Diesel's mode that reads one row at a time; the records have to be complete before it returns.
#[test]
fn load_iter_row_by_row_is_audited() {
    use diesel::pg::PgRowByRowLoadingMode;
    let app = app();
    let conn = &mut app.pool.get().unwrap();
    let emails = ["ada", "bob"].map(|email| accounts::email.eq(email));
    let insert = audited::insert_into(accounts::table).values(&emails);
    let rows = insert
        .load_iter::<Account, PgRowByRowLoadingMode>(conn)
        .unwrap();
    assert_eq!(app.records().len(), 2);
    assert_eq!(rows.map(Result::unwrap).count(), 2);
}
