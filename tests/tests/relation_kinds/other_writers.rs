//! SQLite: another connection writes between the steps of an audited statement. Plain Diesel's first
//! statement of a transaction writes, so that it waits for others and never fails for what they did.

use std::sync::{Arc, Mutex};

use audit_diesel::audited;
use audit_tests::app::sqlite::{App, Conn, app};
use audit_tests::app::{NewAccount, accounts};
use diesel::connection::{InstrumentationEvent, SimpleConnection};
use diesel::prelude::*;
use diesel::result::QueryResult;

/// A write that is the first thing that its transaction does.
type First = fn(&mut Conn) -> QueryResult<usize>;

const WRITES: [(&str, First); 6] = [
    ("insert", |conn| {
        audited::insert_into(accounts::table)
            .values(NewAccount::new("new"))
            .execute(conn)
    }),
    ("insert of default values", |conn| {
        audited::insert_into(accounts::table)
            .default_values()
            .execute(conn)
    }),
    ("insert or ignore", |conn| {
        audited::insert_or_ignore_into(accounts::table)
            .values(NewAccount::new("new"))
            .execute(conn)
    }),
    ("insert, and nothing on conflict", |conn| {
        audited::insert_into(accounts::table)
            .values(NewAccount::new("new"))
            .on_conflict(accounts::email)
            .do_nothing()
            .execute(conn)
    }),
    ("update", |conn| {
        audited::update(accounts::table.find(1))
            .set(accounts::role.eq("admin"))
            .execute(conn)
    }),
    ("delete", |conn| {
        audited::delete(accounts::table.find(1)).execute(conn)
    }),
];

fn path_of(app: &App) -> String {
    app.guard.path().join("app.db").display().to_string()
}

/// Has another connection write once, when this one is about to send its query of this number after
/// BEGIN. Says how many there were.
fn with_writer_before(app: &App, query: usize, first: First) -> (QueryResult<usize>, usize) {
    let path = path_of(app);
    let mut other = Conn::establish(&path).unwrap();
    let seen = Arc::new(Mutex::new(None));
    let counted = Arc::clone(&seen);
    let writes_between = move |event: InstrumentationEvent<'_>| {
        let InstrumentationEvent::StartQuery { query: text, .. } = event else {
            return;
        };
        let mut seen = counted.lock().unwrap();
        match seen.as_mut() {
            None if text.to_string().starts_with("BEGIN") => *seen = Some(0),
            None => {}
            Some(seen) => {
                *seen += 1;
                if *seen == query {
                    // Once this one holds the lock, the other's write fails, as it does not wait.
                    let _ = other.batch_execute("UPDATE accounts SET balance = balance + 1");
                }
            }
        }
    };
    let mut conn = Conn::establish(&path).unwrap();
    app.auditor
        .attach_chained(&mut conn, Some(Box::new(writes_between)));
    let result = conn.transaction(first);
    (result, seen.lock().unwrap().unwrap_or(0))
}

#[test]
fn a_transaction_that_writes_first_fails_for_no_write_of_others() {
    for (name, first) in WRITES {
        for query in 1.. {
            let app = app();
            let conn = &mut Conn::establish(&path_of(&app)).unwrap();
            conn.batch_execute("INSERT INTO accounts (email) VALUES ('old')")
                .unwrap();
            let (result, queries) = with_writer_before(&app, query, first);
            assert_eq!(result, Ok(1), "{name}, before query {query}");
            if query > queries {
                break;
            }
        }
    }
}
