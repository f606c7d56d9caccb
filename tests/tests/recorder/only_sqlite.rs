//! Transactions that only SQLite has, or ends in its own way.

use std::sync::Mutex;

use audit_diesel::audited;
use audit_tests::app::sqlite::{App, Conn, app};
use audit_tests::app::{NewAccount, accounts};
use diesel::connection::{
    AnsiTransactionManager, InstrumentationEvent, SimpleConnection, TransactionManager,
    set_default_instrumentation,
};
use diesel::prelude::*;
use diesel::result::Error;

use crate::support::{NO, add, assert_kept};

fn insert(conn: &mut Conn, email: &str) -> QueryResult<usize> {
    audited::insert_into(accounts::table)
        .values(NewAccount::new(email))
        .execute(conn)
}

#[test]
fn immediate_and_exclusive_transactions() {
    let app = app();
    let conn = &mut app.pool.get().unwrap();
    conn.immediate_transaction(|conn| insert(conn, "a"))
        .unwrap();
    conn.exclusive_transaction(|conn| insert(conn, "b"))
        .unwrap();
    let _ = conn.immediate_transaction(|conn| insert(conn, "c").and(Err::<(), _>(NO)));
    let _ = conn.exclusive_transaction(|conn| insert(conn, "d").and(Err::<(), _>(NO)));
    assert_kept!(app, conn, ["a", "b"]);
}

#[test]
fn a_savepoint_outside_of_a_transaction_is_one() {
    let app = app();
    let conn = &mut app.pool.get().unwrap();
    let script = [
        "SAVEPOINT 'Outer'",
        "+a",
        "SAVEPOINT `inner`",
        "+b",
        "ROLLBACK TO INNER",
        "RELEASE outer",
        "SAVEPOINT s",
        "+c",
        "ROLLBACK TO s",
        "+d",
        "COMMIT",
        "SAVEPOINT s",
        "+e",
        "ROLLBACK",
    ];
    for step in script {
        match step.strip_prefix('+') {
            Some(email) => drop(insert(conn, email).unwrap()),
            None => conn.batch_execute(step).unwrap(),
        }
    }
    assert_kept!(app, conn, ["a", "d"]);
}

fn with_children(app: &App) {
    app.pool
        .get()
        .unwrap()
        .batch_execute(
            "CREATE TABLE children (of integer REFERENCES accounts (id) DEFERRABLE INITIALLY DEFERRED);",
        )
        .unwrap();
}

#[test]
fn a_commit_that_a_deferred_foreign_key_refuses() {
    let app = app();
    with_children(&app);
    let conn = &mut app.pool.get().unwrap();
    conn.batch_execute("PRAGMA foreign_keys = ON").unwrap();
    conn.transaction::<_, Error, _>(|conn| {
        insert(conn, "rolled back by Diesel")?;
        conn.batch_execute("INSERT INTO children VALUES (99)")
    })
    .unwrap_err();
    conn.batch_execute("BEGIN; INSERT INTO children VALUES (99)")
        .unwrap();
    add!(conn, "repaired");
    conn.batch_execute("COMMIT").unwrap_err();
    add!(conn, "still open");
    assert_eq!(app.records(), []);
    conn.batch_execute("DELETE FROM children; COMMIT").unwrap();
    assert_kept!(app, conn, ["repaired", "still open"]);
}

#[test]
fn a_commit_that_finds_the_database_busy() {
    let app = app();
    let alone = app.guard.path().join("rollback-journal.db");
    let url = alone.display().to_string();
    let mut writer = Conn::establish(&url).unwrap();
    let mut reader = Conn::establish(&url).unwrap();
    let schema = "CREATE TABLE accounts (
        id integer NOT NULL PRIMARY KEY AUTOINCREMENT, email text NOT NULL UNIQUE,
        role text NOT NULL DEFAULT 'member', balance bigint NOT NULL DEFAULT 0, note text,
        api_token text NOT NULL, updated_at timestamp NOT NULL DEFAULT '2026-01-01 00:00:00')";
    writer.batch_execute(schema).unwrap();
    app.auditor.attach(&mut writer);
    let read = "BEGIN; SELECT count(*) FROM accounts";

    // Raw SQL tries again.
    reader.batch_execute(read).unwrap();
    writer.batch_execute("BEGIN").unwrap();
    add!(&mut writer, "tried again");
    writer.batch_execute("COMMIT").unwrap_err();
    add!(&mut writer, "meanwhile");
    reader.batch_execute("COMMIT").unwrap();
    writer.batch_execute("COMMIT").unwrap();
    assert_kept!(app, &mut writer, ["tried again", "meanwhile"]);

    // Diesel rolls back.
    reader.batch_execute(read).unwrap();
    writer
        .transaction(|conn| insert(conn, "rolled back"))
        .unwrap_err();
    reader.batch_execute("COMMIT").unwrap();
    add!(&mut writer, "next");
    assert_kept!(app, &mut writer, ["tried again", "meanwhile", "next"]);
}

#[test]
fn a_statement_that_ends_the_transaction_by_itself() {
    let or_rollback = "INSERT OR ROLLBACK INTO accounts (email) VALUES ('ada')";
    let trigger = "CREATE TRIGGER no BEFORE INSERT ON accounts WHEN NEW.email = 'no'
                   BEGIN SELECT RAISE(ROLLBACK, 'no'); END";
    let swallowed: [&dyn Fn(&mut Conn); 3] = [
        &|conn| drop(conn.batch_execute(or_rollback)),
        // For a query that loads, Diesel tells its instrumentation that all is well.
        &|conn| drop(diesel::sql_query(or_rollback).load::<Nothing>(conn)),
        &|conn| drop(insert(conn, "no")),
    ];
    for swallow in swallowed {
        let app = app();
        let conn = &mut app.pool.get().unwrap();
        conn.batch_execute(trigger).unwrap();
        add!(conn, "ada");
        let _ = conn.transaction::<_, Error, _>(|conn| {
            insert(conn, "gone")?;
            swallow(conn);
            // The transaction is no more: this is kept at once.
            insert(conn, "kept")
        });
        add!(conn, "after");
        assert_kept!(app, conn, ["ada", "kept", "after"]);
        conn.batch_execute("BEGIN").unwrap();
        add!(conn, "gone again");
        swallow(conn);
        conn.batch_execute("BEGIN").unwrap();
        add!(conn, "second");
        conn.batch_execute("COMMIT").unwrap();
        assert_kept!(app, conn, ["ada", "kept", "after", "second"]);
    }
}

#[derive(QueryableByName)]
struct Nothing {
    #[diesel(sql_type = diesel::sql_types::Integer)]
    #[expect(dead_code, reason = "it loads nothing")]
    nothing: i32,
}

#[test]
fn a_full_database_at_commit() {
    let app = app();
    let conn = &mut app.pool.get().unwrap();
    add!(conn, "ada");
    conn.batch_execute("PRAGMA cache_spill = 0; PRAGMA max_page_count = 1")
        .unwrap();
    let big = "b".repeat(1 << 20);
    let full = conn.transaction::<_, Error, _>(|conn| {
        insert(conn, "gone")?;
        insert(conn, &big)
    });
    assert!(full.is_err());
    conn.batch_execute("PRAGMA max_page_count = 100000")
        .unwrap();
    add!(conn, "next");
    assert_kept!(app, conn, ["ada", "next"]);
}

/// SQLite runs the first statement of a prepared text and ignores the rest.
#[test]
fn only_the_first_statement_of_a_prepared_text_counts() {
    let app = app();
    let conn = &mut app.pool.get().unwrap();
    conn.batch_execute("BEGIN").unwrap();
    add!(conn, "a");
    diesel::sql_query("SELECT 1; ROLLBACK")
        .execute(conn)
        .unwrap();
    diesel::sql_query("COMMIT; BEGIN").execute(conn).unwrap();
    add!(conn, "b");
    assert_kept!(app, conn, ["a", "b"]);
}

static SEEN: Mutex<Vec<String>> = Mutex::new(Vec::new());

#[test]
fn the_default_instrumentation_of_the_process_still_sees_every_event() {
    set_default_instrumentation(|| {
        Some(Box::new(|event: InstrumentationEvent<'_>| {
            SEEN.lock().unwrap().push(format!("{event:?}"));
        }))
    })
    .unwrap();
    let app = app();
    let conn = &mut app.pool.get().unwrap();
    conn.transaction(|conn| insert(conn, "seen by all"))
        .unwrap();
    set_default_instrumentation(|| None).unwrap();
    let seen = SEEN.lock().unwrap().clone();
    for event in [
        "StartEstablishConnection",
        "BeginTransaction",
        "seen by all",
        "COMMIT",
    ] {
        assert!(seen.iter().any(|line| line.contains(event)), "{event}");
    }
    assert_kept!(app, conn, ["seen by all"]);
}

#[test]
fn an_update_is_a_transaction_of_its_own() {
    let app = app();
    let conn = &mut app.pool.get().unwrap();
    add!(conn, "ada");
    audited::update(accounts::table)
        .set(accounts::balance.eq(7))
        .execute(conn)
        .unwrap();
    assert_eq!(app.records().len(), 2);
    conn.batch_execute("SAVEPOINT s").unwrap();
    audited::update(accounts::table)
        .set(accounts::balance.eq(8))
        .execute(conn)
        .unwrap();
    assert_eq!(app.records().len(), 2);
    conn.batch_execute("RELEASE s").unwrap();
    assert_eq!(app.records().len(), 3);
}

/// The savepoint was set, and what follows it in the batch failed: a rollback to its name goes
/// there, and not to the savepoint of the same name that is further out.
#[test]
fn a_batch_that_fails_after_its_savepoint() {
    let app = app();
    let conn = &mut app.pool.get().unwrap();
    conn.batch_execute("BEGIN; SAVEPOINT s").unwrap();
    add!(conn, "a");
    conn.batch_execute("SAVEPOINT s; SELECT * FROM nowhere")
        .unwrap_err();
    conn.batch_execute("ROLLBACK TO s").unwrap();
    add!(conn, "b");
    conn.batch_execute("COMMIT").unwrap();
    assert_kept!(app, conn, ["a", "b"]);
}

/// What a failed batch has begun is open.
#[test]
fn a_batch_that_begins_a_transaction_and_fails() {
    for (begins, end, expected) in [
        ("BEGIN; SAVEPOINT s", "ROLLBACK TO s; COMMIT", &[][..]),
        ("SAVEPOINT s", "ROLLBACK TO s; RELEASE s", &[]),
        ("SAVEPOINT s", "RELEASE s", &["a"]),
        (
            "SELECT 1; SAVEPOINT t; SAVEPOINT s",
            "ROLLBACK TO t; COMMIT",
            &[],
        ),
    ] {
        let app = app();
        let conn = &mut app.pool.get().unwrap();
        // A second failed batch is read like the first one.
        conn.batch_execute("BEGIN; SELECT * FROM nowhere")
            .unwrap_err();
        conn.batch_execute("ROLLBACK").unwrap();
        let batch = format!("{begins}; SELECT * FROM nowhere");
        conn.batch_execute(&batch).unwrap_err();
        add!(conn, "a");
        assert_eq!(app.records(), [], "{begins}");
        conn.batch_execute(end).unwrap();
        assert_kept!(app, conn, expected);
    }
}

/// The batch failed before it began anything.
#[test]
fn a_batch_that_fails_before_it_begins_a_transaction() {
    let app = app();
    let conn = &mut app.pool.get().unwrap();
    conn.batch_execute("SELECT * FROM nowhere; SAVEPOINT s")
        .unwrap_err();
    add!(conn, "a");
    assert_kept!(app, conn, ["a"]);
}

/// The COMMIT at its end finds nothing to commit.
#[test]
fn a_batch_that_rolls_back_and_fails() {
    let app = app();
    let conn = &mut app.pool.get().unwrap();
    for batch in [
        "ROLLBACK; SELECT * FROM nowhere; COMMIT",
        "ROLLBACK; COMMIT",
    ] {
        conn.batch_execute("BEGIN").unwrap();
        add!(conn, "gone");
        conn.batch_execute(batch).unwrap_err();
    }
    add!(conn, "a");
    assert_kept!(app, conn, ["a"]);
}

/// A comment ends where it is closed first.
#[test]
fn a_comment_in_front_of_a_commit() {
    let app = app();
    let conn = &mut app.pool.get().unwrap();
    conn.batch_execute("BEGIN").unwrap();
    add!(conn, "a");
    conn.batch_execute("/* a /* b */ COMMIT").unwrap();
    assert_kept!(app, conn, ["a"]);
}

/// Nobody can be asked whether its transaction was committed.
#[test]
fn another_instrumentation_inside_a_transaction_is_noticed_and_named() {
    let app = app();
    let conn = &mut app.pool.get().unwrap();
    conn.batch_execute("BEGIN").unwrap();
    insert(conn, "a").unwrap();
    insert(conn, "b").unwrap();
    conn.set_instrumentation(None::<fn(InstrumentationEvent<'_>)>);
    conn.batch_execute("COMMIT").unwrap();
    assert_eq!(app.auditor.stats().left, 2);
    let warnings = app.auditor.warnings();
    let said: String = warnings.iter().map(ToString::to_string).collect();
    assert!(said.contains("may lack 2 records"), "{said}");
    assert!(said.contains("set_instrumentation"), "{said}");
    insert(conn, "c").unwrap_err();
}

#[test]
fn a_pooled_connection_that_lost_its_auditor_is_noticed_and_named() {
    let app = app();
    let mut conn = app.pool.get().unwrap();
    conn.set_instrumentation(None::<fn(InstrumentationEvent<'_>)>);
    // A pool gives up a connection that is in a transaction.
    AnsiTransactionManager::begin_transaction(&mut *conn).unwrap();
    drop(conn);
    assert_eq!(app.auditor.stats().detached, 1);
    let warnings = app.auditor.warnings();
    let said: String = warnings.iter().map(ToString::to_string).collect();
    assert!(said.contains("lacks what 1 connections did"), "{said}");
}

#[test]
fn a_connection_that_its_pool_gives_up_inside_a_transaction_warns_of_nothing() {
    let app = app();
    let mut conn = app.pool.get().unwrap();
    AnsiTransactionManager::begin_transaction(&mut *conn).unwrap();
    insert(&mut conn, "gone").unwrap();
    drop(conn);
    let stats = app.auditor.stats();
    assert_eq!((stats.left, stats.detached), (0, 0), "{stats:?}");
    let warnings = app.auditor.warnings();
    let said: String = warnings.iter().map(ToString::to_string).collect();
    assert!(!said.contains("transaction"), "{said}");
    assert!(app.records().is_empty());
}
