//! A column gets another type while a pooled connection lives: plain Diesel prepares its UPDATE anew.

use audit_diesel::{AuditEvent, Auditable, Auditor, Delivery, audited};
use audit_tests::app::postgres::{App, Conn, app};
use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use diesel::r2d2::{ConnectionManager, PooledConnection};
use diesel::result::QueryResult;

type Pooled = PooledConnection<ConnectionManager<Conn>>;

diesel::table! { things (id) { id -> Integer, name -> Text, n -> BigInt } }

#[derive(Debug, Clone, PartialEq, Queryable, Selectable, Auditable)]
#[diesel(table_name = things)]
struct Thing {
    id: i32,
    name: String,
    n: i64,
}

/// A text of another length is the same to the model, and another result to PostgreSQL.
const RETYPE: &str = "ALTER TABLE things ALTER name TYPE varchar(50)";

fn things() -> App {
    let app = app();
    let conn = &mut app.guard.connection();
    conn.batch_execute(
        "CREATE TABLE things (id int PRIMARY KEY, name varchar(20) NOT NULL, n bigint NOT NULL);
         CREATE TABLE others (id int PRIMARY KEY)",
    )
    .unwrap();
    app
}

fn insert(conn: &mut Conn, id: i32) -> QueryResult<usize> {
    audited::insert_into(things::table)
        .values((things::id.eq(id), things::name.eq("x"), things::n.eq(0)))
        .execute(conn)
}

fn update(conn: &mut Conn) -> QueryResult<usize> {
    audited::update(things::table.find(1))
        .set(things::n.eq(things::n + 1))
        .execute(conn)
}

fn delete(conn: &mut Conn, id: i32) -> QueryResult<usize> {
    audited::delete(things::table.find(id)).execute(conn)
}

/// Each statement, prepared and run.
fn run_all(conn: &mut Conn, id: i32) {
    assert_eq!(insert(conn, id), Ok(1));
    assert_eq!(update(conn), Ok(1));
    assert_eq!(delete(conn, id), Ok(1));
}

fn prepared() -> (App, Pooled) {
    let app = things();
    let mut conn = app.pool.get().unwrap();
    assert_eq!(insert(&mut conn, 1), Ok(1));
    for id in 2..4 {
        run_all(&mut conn, id);
    }
    (app, conn)
}

fn retype(app: &App) {
    app.guard.connection().batch_execute(RETYPE).unwrap();
}

#[test]
fn statements_go_on_after_a_column_got_another_type() {
    for first in 0..3 {
        let (app, mut conn) = prepared();
        let conn = &mut conn;
        retype(&app);
        let ran = match first {
            0 => insert(conn, 10),
            1 => update(conn),
            _ => insert(&mut app.pool.get().unwrap(), 10).and_then(|_| delete(conn, 10)),
        };
        assert_eq!(ran, Ok(1));
        run_all(conn, 20);
    }
}

#[test]
fn the_first_statement_of_a_transaction_goes_on_too() {
    let (app, mut conn) = prepared();
    let conn = &mut conn;
    retype(&app);
    conn.transaction(|conn| {
        assert_eq!(update(conn)?, 1);
        run_all(conn, 20);
        QueryResult::Ok(())
    })
    .unwrap();
    let n: i64 = things::table.find(1).select(things::n).first(conn).unwrap();
    assert_eq!(n, 4);
    // 1 of the beginning, 2 × 3, and 1 + 3 of the transaction.
    assert_eq!(app.trail().len(), 11);
}

#[test]
fn a_transaction_keeps_what_it_was_begun_with() {
    let (app, mut conn) = prepared();
    let conn = &mut conn;
    retype(&app);
    let isolation = conn
        .build_transaction()
        .serializable()
        .run(|conn| {
            assert_eq!(update(conn)?, 1);
            diesel::select(diesel::dsl::sql::<diesel::sql_types::Text>(
                "current_setting('transaction_isolation')",
            ))
            .get_result::<String>(conn)
        })
        .unwrap();
    assert_eq!(isolation, "serializable");
}

/// Outside of a transaction such a statement opens one.
#[test]
fn a_statement_that_stores_its_records_itself_goes_on_too() {
    let app = things();
    let auditor = Auditor::builder()
        .queue(app.queue.clone())
        .delivery(Delivery::Transactional)
        .build()
        .unwrap();
    let conn = &mut app.guard.connection();
    auditor.attach(conn);
    assert_eq!(insert(conn, 1), Ok(1));
    run_all(conn, 2);
    retype(&app);
    assert_eq!(update(conn), Ok(1));
    run_all(conn, 3);
    let stored = diesel::sql_query("SELECT 1 FROM audit_logs").execute(conn);
    assert_eq!(stored, Ok(8));
}

/// Its record would be lost with the beginning of the transaction.
#[test]
fn a_transaction_that_holds_an_event_is_not_begun_again() {
    let app = things();
    let auditor = Auditor::builder()
        .queue(app.queue.clone())
        .delivery(Delivery::Transactional)
        .build()
        .unwrap();
    let conn = &mut app.guard.connection();
    auditor.attach(conn);
    assert_eq!(insert(conn, 1), Ok(1));
    run_all(conn, 2);
    retype(&app);
    let ended = conn.transaction(|conn| {
        auditor.record_in(conn, AuditEvent::new("login")).unwrap();
        update(conn)
    });
    let events = diesel::sql_query("SELECT 1 FROM audit_logs WHERE action = 'login'").execute(conn);
    assert_eq!(events, Ok(usize::from(ended.is_ok())), "{ended:?}");
    // And not for good.
    assert_eq!(conn.transaction(update), Ok(1));
}

/// What was done before the savepoint stays done.
#[test]
fn the_first_statement_after_a_savepoint_goes_on_too() {
    let (app, mut conn) = prepared();
    let conn = &mut conn;
    retype(&app);
    conn.transaction(|conn| {
        conn.batch_execute("INSERT INTO others VALUES (1)")?;
        conn.transaction(|conn| {
            assert_eq!(delete(conn, 99)?, 0);
            update(conn)
        })?;
        run_all(conn, 20);
        QueryResult::Ok(())
    })
    .unwrap();
    let others = diesel::sql_query("SELECT 1 FROM others").execute(conn);
    assert_eq!(others, Ok(1));
}

/// Whoever changes a type and goes on in the same transaction has told this connection.
#[test]
fn a_transaction_that_changes_the_type_itself_goes_on() {
    let (app, mut conn) = prepared();
    let conn = &mut conn;
    conn.transaction(|conn| {
        conn.batch_execute(RETYPE)?;
        run_all(conn, 20);
        QueryResult::Ok(())
    })
    .unwrap();
    assert_eq!(app.trail().len(), 10);
}

/// In whichever words this connection has another table, or other columns, take the place of those that
/// its statements were prepared for.
#[test]
fn a_transaction_that_puts_another_table_in_its_place_goes_on() {
    const WAYS: [&str; 5] = [
        "ALTER TABLE things DROP name; ALTER TABLE things ADD name text NOT NULL DEFAULT 'x'",
        "ALTER TABLE things RENAME TO old; ALTER TABLE new RENAME TO things",
        "ALTER TABLE things SET SCHEMA away; ALTER TABLE new RENAME TO things",
        "SET LOCAL search_path = away",
        "CREATE TEMP TABLE things (id int PRIMARY KEY, name text NOT NULL, n bigint NOT NULL) ON COMMIT DROP",
    ];
    for way in WAYS {
        let (app, mut conn) = prepared();
        let conn = &mut conn;
        conn.batch_execute(
            "CREATE TABLE new (id int PRIMARY KEY, name text NOT NULL, n bigint NOT NULL);
             CREATE SCHEMA away; CREATE TABLE away.things (LIKE new INCLUDING ALL)",
        )
        .unwrap();
        if way.contains("SET SCHEMA") {
            conn.batch_execute("DROP TABLE away.things").unwrap();
        }
        run_all(conn, 5);
        conn.transaction(|conn| {
            conn.batch_execute(way)?;
            conn.batch_execute("INSERT INTO things (id, n, name) SELECT 1, 0, 'x' WHERE NOT EXISTS (SELECT FROM things WHERE id = 1)")?;
            run_all(conn, 20);
            run_all(conn, 20);
            QueryResult::Ok(())
        })
        .unwrap_or_else(|error| panic!("{way}: {error}"));
        assert_eq!(app.trail().len(), 7 + 3 + 6, "{way}");
    }
}

/// A text that is prepared stays so for good, in Diesel and in PostgreSQL.
#[test]
fn tables_that_come_and_go_have_nothing_prepared_anew() {
    let (_app, mut conn) = prepared();
    let conn = &mut conn;
    let prepared = |conn: &mut Conn| {
        let count = diesel::dsl::sql::<diesel::sql_types::BigInt>(
            "(SELECT count(*) FROM pg_prepared_statements)",
        );
        diesel::select(count).get_result::<i64>(conn).unwrap()
    };
    run_all(conn, 5);
    let before = prepared(conn);
    for _ in 0..10 {
        conn.batch_execute("CREATE TEMP TABLE passing (type int); DROP TABLE passing")
            .unwrap();
        run_all(conn, 5);
    }
    assert_eq!(prepared(conn), before);
}

/// Where a transaction has done something before, PostgreSQL's error ends it, as with what Diesel keeps
/// prepared itself. It happens once in a process, and not for good.
#[test]
fn what_one_connection_runs_into_the_others_do_not() {
    let (app, mut conn) = prepared();
    let conn = &mut conn;
    let other = &mut app.pool.get().unwrap();
    run_all(other, 30);
    retype(&app);
    run_all(other, 30);
    conn.transaction(|conn| {
        conn.batch_execute("INSERT INTO others VALUES (1)")?;
        run_all(conn, 20);
        QueryResult::Ok(())
    })
    .unwrap();
}

/// Plain Diesel's insert that returns its row, and its select, are kept prepared as ours are; its update
/// is not, and is not refused.
#[test]
fn what_a_transaction_runs_into_plain_diesels_prepared_statements_run_into_as_well() {
    const STALE: &str = "cached plan must not change result type";
    type Statement = fn(&mut Conn, i32) -> QueryResult<usize>;
    let statements: [Statement; 5] = [
        |conn, _| {
            things::table
                .find(1)
                .load::<Thing>(conn)
                .map(|rows| rows.len())
        },
        |conn, id| {
            let row = (things::id.eq(id), things::name.eq("x"), things::n.eq(0));
            let insert = diesel::insert_into(things::table).values(row);
            insert.get_result::<Thing>(conn).map(|_| 1)
        },
        insert,
        |conn, _| update(conn),
        |conn, id| {
            diesel::sql_query(format!("INSERT INTO things VALUES ({id}, 'x', 0)")).execute(conn)?;
            delete(conn, id)
        },
    ];
    for statement in statements {
        let (app, mut conn) = prepared();
        let conn = &mut conn;
        for id in 10..13 {
            assert_eq!(statement(conn, id), Ok(1));
        }
        retype(&app);
        let ended = conn.transaction(|conn| {
            conn.batch_execute("INSERT INTO others VALUES (1)")?;
            statement(conn, 20)
        });
        assert_eq!(ended.unwrap_err().to_string(), STALE);
        let others = diesel::sql_query("SELECT 1 FROM others").execute(conn);
        assert_eq!(others, Ok(0));
    }
}

#[test]
fn an_error_of_the_statement_is_not_tried_twice() {
    let (app, mut conn) = prepared();
    let conn = &mut conn;
    app.guard
        .connection()
        .batch_execute(
            "CREATE SEQUENCE calls;
             CREATE FUNCTION fails() RETURNS trigger LANGUAGE plpgsql AS
                 $$ BEGIN PERFORM nextval('calls'); RAISE EXCEPTION 'no'; END $$;
             CREATE TRIGGER t BEFORE UPDATE ON things FOR EACH ROW EXECUTE FUNCTION fails()",
        )
        .unwrap();
    assert_eq!(update(conn).unwrap_err().to_string(), "no");
    let calls = diesel::dsl::sql::<diesel::sql_types::BigInt>("nextval('calls')");
    assert_eq!(diesel::select(calls).get_result(conn), Ok(2_i64));
}
