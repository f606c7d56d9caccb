//! PostgreSQL: a batch that failed after it had done some of what it says to the transaction.

use audit_diesel::audited;
use audit_tests::app::postgres::app;
use audit_tests::app::{NewAccount, accounts};
use diesel::connection::SimpleConnection;
use diesel::prelude::*;

use crate::support::{add, assert_kept};

/// PostgreSQL names a place in the text, though it has read it as a whole and run the savepoint.
#[test]
fn a_savepoint_and_then_a_table_that_is_not_there() {
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

#[test]
fn a_savepoint_that_is_not_the_first_statement() {
    let app = app();
    let conn = &mut app.pool.get().unwrap();
    conn.batch_execute("BEGIN; SAVEPOINT s").unwrap();
    add!(conn, "a");
    conn.batch_execute("SELECT 1; SAVEPOINT s; SELECT 1 / 0")
        .unwrap_err();
    conn.batch_execute("ROLLBACK TO s").unwrap();
    add!(conn, "b");
    conn.batch_execute("ROLLBACK TO s; COMMIT").unwrap();
    assert_kept!(app, conn, ["a"]);
}

/// The transaction is open, and a rollback to its savepoint makes it usable.
#[test]
fn the_beginning_of_a_transaction() {
    let app = app();
    let conn = &mut app.pool.get().unwrap();
    for (end, kept) in [("ROLLBACK", 0), ("COMMIT", 1)] {
        conn.batch_execute("BEGIN; SAVEPOINT s; SELECT 1 / 0")
            .unwrap_err();
        conn.batch_execute("ROLLBACK TO s").unwrap();
        add!(conn, "a");
        assert_eq!(app.records(), []);
        conn.batch_execute(end).unwrap();
        assert_eq!(app.records().len(), kept, "{end}");
    }
    assert_kept!(app, conn, ["a"]);
}

/// None of it is run, and no transaction is open.
#[test]
fn the_beginning_of_a_transaction_that_cannot_be_read() {
    let app = app();
    let conn = &mut app.pool.get().unwrap();
    conn.batch_execute("BEGIN; SELEC 1").unwrap_err();
    add!(conn, "a");
    assert_eq!(app.records().len(), 1);
    conn.batch_execute("BEGIN; SELEC 1").unwrap_err();
    conn.transaction(|conn| {
        audited::insert_into(accounts::table)
            .values(NewAccount::new("b"))
            .execute(conn)
    })
    .unwrap();
    assert_kept!(app, conn, ["a", "b"]);
}
