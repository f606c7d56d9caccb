use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use diesel::result::Error;

use super::{Conn, app};
use audit_tests::app::accounts;

use crate::support::{NO, add, added, assert_kept, settled};

/// `+name` is an audited insert, everything else SQL.
fn run(conn: &mut Conn, script: &[&str], prepared: bool) {
    for step in script {
        match step.strip_prefix('+') {
            Some(email) => {
                add!(conn, email);
            }
            None if prepared => {
                diesel::sql_query(*step).execute(conn).unwrap();
            }
            None => conn.batch_execute(step).unwrap(),
        }
    }
}

fn keeps(script: &[&str], expected: &[&str]) {
    for prepared in [false, true] {
        let app = app();
        let conn = &mut app.pool.get().unwrap();
        run(conn, script, prepared);
        assert_kept!(app, conn, expected);
    }
}

#[test]
fn control_in_statements_of_their_own() {
    keeps(&["BEGIN", "+a", "COMMIT"], &["a"]);
    keeps(&["begin transaction", "+a", "END"], &["a"]);
    keeps(&["BEGIN", "+a", "ROLLBACK", "+b"], &["b"]);
    keeps(
        &[
            "BEGIN",
            "+a",
            "SAVEPOINT s",
            "+b",
            "ROLLBACK TO s",
            "COMMIT",
        ],
        &["a"],
    );
    keeps(
        &["BEGIN", "+a", "SAVEPOINT s", "+b", "RELEASE s", "COMMIT"],
        &["a", "b"],
    );
    keeps(
        &["BEGIN", "SAVEPOINT s", "+b", "RELEASE s", "ROLLBACK"],
        &[],
    );
    keeps(
        &[
            "BEGIN",
            "SAVEPOINT s",
            "+a",
            "SAVEPOINT s",
            "+b",
            "ROLLBACK TO s",
            "RELEASE s",
            "+c",
            "ROLLBACK TO SAVEPOINT S",
            "+d",
            "COMMIT",
        ],
        &["d"],
    );
    keeps(
        &[
            "BEGIN",
            "SAVEPOINT one",
            "+a",
            "SAVEPOINT two",
            "+b",
            "ROLLBACK TO one",
            "+c",
            "COMMIT",
        ],
        &["c"],
    );
}

#[test]
fn control_in_batches() {
    let app = app();
    let conn = &mut app.pool.get().unwrap();
    run(
        conn,
        &[
            "SELECT 1; BEGIN; SAVEPOINT s",
            "+a",
            "RELEASE s; COMMIT; BEGIN",
            "+b",
            "ROLLBACK; SELECT 1",
            "+c",
        ],
        false,
    );
    assert_kept!(app, conn, ["a", "c"]);
}

#[test]
fn raw_control_around_diesels_and_inside_of_it() {
    let app = app();
    let conn = &mut app.pool.get().unwrap();
    conn.transaction::<_, Error, _>(|conn| {
        add!(conn, "a");
        run(conn, &["SAVEPOINT raw", "+b", "ROLLBACK TO raw"], false);
        let _: Result<(), Error> = conn.transaction(|conn| {
            add!(conn, "c");
            Err(NO)
        });
        add!(conn, "d");
        Ok(())
    })
    .unwrap();
    assert_kept!(app, conn, ["a", "d"]);
}

/// The COMMIT was done, and what follows it in the batch failed.
#[test]
fn a_batch_that_fails_after_its_commit() {
    let app = app();
    let conn = &mut app.pool.get().unwrap();
    run(conn, &["BEGIN", "+a"], false);
    conn.batch_execute("COMMIT; SELECT * FROM nowhere")
        .unwrap_err();
    add!(conn, "b");
    assert_eq!(app.records().len(), 2, "{:?}", app.trail());
    let kept: i64 = accounts::table.count().get_result(conn).unwrap();
    assert_eq!(kept, 2);
}

/// The batch took back, committed, and then failed.
#[test]
fn a_batch_that_takes_back_and_fails_after_its_commit() {
    let app = app();
    let conn = &mut app.pool.get().unwrap();
    run(conn, &["BEGIN", "+a", "SAVEPOINT s", "+b"], false);
    conn.batch_execute("ROLLBACK TO s; COMMIT; SELECT * FROM nowhere")
        .unwrap_err();
    add!(conn, "c");
    assert_kept!(app, conn, ["a", "c"]);
}

/// The batch failed before it came to its COMMIT.
#[test]
fn a_batch_that_fails_before_its_commit() {
    let app = app();
    let conn = &mut app.pool.get().unwrap();
    run(conn, &["BEGIN", "+a", "SAVEPOINT s"], false);
    conn.batch_execute("SELECT * FROM nowhere; COMMIT")
        .unwrap_err();
    run(conn, &["ROLLBACK TO s", "+b", "COMMIT"], false);
    assert_kept!(app, conn, ["a", "b"]);
}

/// What a batch begins with was done where it cannot have failed.
#[test]
fn a_batch_that_fails_after_what_it_took_back() {
    for batch in [
        "ROLLBACK TO s; SELECT * FROM nowhere",
        "ROLLBACK TO s; RELEASE s; SELECT * FROM nowhere",
        "SAVEPOINT t; ROLLBACK TO s; SELECT * FROM nowhere",
    ] {
        let app = app();
        let conn = &mut app.pool.get().unwrap();
        run(conn, &["BEGIN", "+a", "SAVEPOINT s", "+b"], false);
        // One that says nothing of savepoints leaves no doubt about them.
        conn.batch_execute("SAVEPOINT f; SELECT 1; SELECT * FROM nowhere")
            .unwrap_err();
        run(conn, &["ROLLBACK TO f"], false);
        conn.batch_execute(batch).unwrap_err();
        // PostgreSQL turns it into a rollback.
        run(conn, &["COMMIT"], false);
        let kept: Vec<String> = accounts::table.select(accounts::email).load(conn).unwrap();
        assert!(kept.is_empty() || kept == ["a"], "{kept:?}");
        assert_eq!(added(&settled!(app, conn)), kept, "{batch}");
    }
}

#[test]
fn a_batch_that_fails_after_a_release() {
    let app = app();
    let conn = &mut app.pool.get().unwrap();
    run(
        conn,
        &["BEGIN", "SAVEPOINT s", "+a", "SAVEPOINT s", "+b"],
        false,
    );
    conn.batch_execute("RELEASE s; SELECT * FROM nowhere")
        .unwrap_err();
    run(conn, &["ROLLBACK TO s", "+c", "COMMIT"], false);
    assert_kept!(app, conn, ["c"]);
}

#[test]
fn a_batch_that_fails_in_its_next_transaction() {
    let app = app();
    let conn = &mut app.pool.get().unwrap();
    run(conn, &["BEGIN", "+gone"], false);
    conn.batch_execute("ROLLBACK; BEGIN; SAVEPOINT s; SELECT * FROM nowhere")
        .unwrap_err();
    run(conn, &["ROLLBACK TO s", "+a", "COMMIT"], false);
    assert_kept!(app, conn, ["a"]);
}

/// SQLite runs the first of them, and PostgreSQL none.
#[test]
fn several_statements_in_a_prepared_query() {
    for (text, on_sqlite) in [
        ("ROLLBACK; SELECT 1", "b"),
        ("ROLLBACK TO outside; SELECT 1", "b"),
    ] {
        let app = app();
        let conn = &mut app.pool.get().unwrap();
        run(conn, &["BEGIN", "SAVEPOINT outside", "+a"], false);
        run(conn, &["SAVEPOINT inside"], false);
        let refused = diesel::sql_query(text).execute(conn).is_err();
        let expected: &[&str] = match refused {
            true => {
                run(conn, &["ROLLBACK TO inside", "+b"], false);
                &["a", "b"]
            }
            false => {
                run(conn, &["+b"], false);
                &[on_sqlite]
            }
        };
        let _ = conn.batch_execute("COMMIT");
        assert_kept!(app, conn, expected);
    }
}

#[test]
fn a_query_without_a_statement_changes_nothing() {
    let app = app();
    let conn = &mut app.pool.get().unwrap();
    conn.transaction::<_, Error, _>(|conn| {
        add!(conn, "a");
        let _ = conn.batch_execute("");
        let _ = conn.batch_execute(" ; -- nothing");
        Ok(())
    })
    .unwrap();
    assert_kept!(app, conn, ["a"]);
}
