//! PostgreSQL ends a transaction, or aborts it, and Diesel is not told.

use std::io::Read;

use audit_diesel::{Consumer, audited};
use audit_tests::app::postgres::{App, Conn, app};
use audit_tests::app::{NewAccount, accounts};
use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use diesel::result::Error;

use crate::support::{add, assert_kept, settled};

/// A row that cannot be shown, after many that can: those are sent.
const FAILS_LATE: &str = "
    CREATE TYPE mood AS ENUM ('fine', 'odd');
    CREATE TABLE moods (id integer PRIMARY KEY, mood mood NOT NULL);
    INSERT INTO moods SELECT i, 'fine' FROM generate_series(1, 50000) AS i;
    INSERT INTO moods VALUES (0, 'odd');
    DELETE FROM pg_enum WHERE enumlabel = 'odd'";

diesel::table! {
    moods (id) {
        id -> Integer,
        mood -> Text,
    }
}

fn insert(conn: &mut Conn, email: &str) -> QueryResult<usize> {
    audited::insert_into(accounts::table)
        .values(NewAccount::new(email))
        .execute(conn)
}

/// The records that are stored, once PostgreSQL was asked about those in doubt.
fn stored(app: &App) -> u64 {
    let consumer = Consumer::builder(app.auditor.queue(), app.pool.clone())
        .spawn()
        .unwrap();
    consumer.flush().unwrap();
    let stats = consumer.stats();
    consumer.stop().unwrap();
    assert_eq!(stats.quarantined, 0);
    stats.stored
}

/// Diesel says that a COPY is done when its rows begin to come, and what is wrong after that nobody
/// hears.
#[test]
fn a_copy_that_fails_while_it_is_read() {
    let app = app();
    let conn = &mut app.pool.get().unwrap();
    conn.batch_execute(FAILS_LATE).unwrap();
    let read: [fn(&mut Conn) -> bool; 3] = [
        |conn| {
            let mut rows = diesel::copy_to(moods::table).load_raw(conn).unwrap();
            rows.read_to_end(&mut Vec::new()).is_ok()
        },
        |conn| {
            let mut rows = diesel::copy_to(moods::table).load_raw(conn).unwrap();
            rows.read_exact(&mut [0; 64]).is_ok()
        },
        |conn| conn.batch_execute("COPY moods TO STDOUT").is_ok(),
    ];
    for read in read {
        conn.transaction::<_, Error, _>(|conn| {
            insert(conn, "gone")?;
            assert!(read(conn));
            Ok(())
        })
        .unwrap();
        assert_eq!(accounts::table.count().get_result::<i64>(conn), Ok(0));
    }
    assert_eq!(stored(&app), 0);
}

#[test]
fn a_copy_that_is_read_to_its_end() {
    let app = app();
    let conn = &mut app.pool.get().unwrap();
    conn.transaction::<_, Error, _>(|conn| {
        insert(conn, "a")?;
        let mut text = String::new();
        let mut rows = diesel::copy_to(accounts::table).load_raw(conn)?;
        rows.read_to_string(&mut text).unwrap();
        assert!(text.contains('a'));
        Ok(())
    })
    .unwrap();
    // Nobody said how it ended, so PostgreSQL is asked.
    assert_eq!(stored(&app), 1);
    conn.transaction::<_, Error, _>(|conn| {
        insert(conn, "b")?;
        let mut rows = diesel::copy_to(accounts::table).load_raw(conn)?;
        rows.read_to_end(&mut Vec::new()).unwrap();
        drop(rows);
        // What is answered after it shows that it has not failed.
        conn.batch_execute("SELECT 1")?;
        insert(conn, "c")
    })
    .unwrap();
    assert!(
        app.records()
            .iter()
            .all(|record| record.unsettled.is_none())
    );
    assert_eq!(app.records().len(), 2);
}

/// The server has no room for prepared transactions, and rolls this one back.
#[test]
fn a_transaction_that_cannot_be_prepared() {
    let app = app();
    let conn = &mut app.pool.get().unwrap();
    conn.batch_execute("BEGIN").unwrap();
    add!(conn, "gone");
    conn.batch_execute("PREPARE TRANSACTION 'x'").unwrap_err();
    add!(conn, "a");
    assert_eq!(settled!(app, conn).len(), 1);
    conn.batch_execute("BEGIN").unwrap();
    add!(conn, "gone too");
    conn.batch_execute("ROLLBACK").unwrap();
    assert_kept!(app, conn, ["a"]);
}
