//! PostgreSQL refuses an update for a reason of its own, in words like those of an update whose key does
//! not tell rows apart: it is run once, and the caller gets PostgreSQL's error.

use audit_diesel::{Auditable, audited};
use audit_tests::app::postgres::{App, Conn, app};
use diesel::connection::SimpleConnection;
use diesel::dsl::sql;
use diesel::prelude::*;
use diesel::result::QueryResult;
use diesel::sql_types::BigInt;

diesel::table! {
    ctid.tableoids (productid) {
        productid -> Integer,
        ctid_text -> Text,
        tableoid_number -> BigInt,
    }
}

#[derive(Debug, Clone, PartialEq, Queryable, Selectable, Auditable)]
#[diesel(table_name = tableoids, primary_key(productid))]
struct Product {
    productid: i32,
    ctid_text: String,
    tableoid_number: i64,
}

fn products() -> App {
    let app = app();
    let conn = &mut app.guard.connection();
    conn.batch_execute(
        "CREATE SCHEMA ctid; CREATE SEQUENCE runs;
         CREATE TABLE ctid.tableoids (productid int PRIMARY KEY, ctid_text text NOT NULL,
             tableoid_number bigint NOT NULL CHECK (tableoid_number >= 0));
         INSERT INTO ctid.tableoids VALUES
             (1, 'audit-diesel: the key does not tell rows apart', 0), (2, 'ctid', 0);
         CREATE FUNCTION counted() RETURNS trigger LANGUAGE plpgsql AS
             $$ BEGIN PERFORM nextval('runs'); RETURN NEW; END $$;
         CREATE TRIGGER counted BEFORE UPDATE ON ctid.tableoids
             FOR EACH STATEMENT EXECUTE FUNCTION counted();
         CREATE FUNCTION says(text) RETURNS bigint LANGUAGE plpgsql AS
             $$ BEGIN RAISE EXCEPTION '%', $1; END $$",
    )
    .unwrap();
    app
}

/// What the number of the row is set to, each of which fails.
const FAILING: [&str; 9] = [
    "says('productid, ctid and tableoid')",
    "says('column \"ctid\" does not exist')",
    "says('column \"tableoids.ctid\" must appear in the GROUP BY clause or be used in an aggregate function')",
    "says(ctid_text)",
    "says('invalid input syntax for type boolean: \"audit-diesel: the key does not tell rows apart\"')",
    "ctid_text::bigint",
    "ctid_text::boolean::int",
    "no_such_ctid",
    "-1",
];

fn plain(failing: &str, conn: &mut Conn) -> QueryResult<usize> {
    diesel::update(tableoids::table.find(1))
        .set(tableoids::tableoid_number.eq(sql::<BigInt>(failing)))
        .execute(conn)
}

fn recorded(failing: &str, conn: &mut Conn) -> QueryResult<usize> {
    audited::update(tableoids::table.find(1))
        .set(tableoids::tableoid_number.eq(sql::<BigInt>(failing)))
        .execute(conn)
}

fn runs(conn: &mut Conn) -> i64 {
    diesel::select(sql::<BigInt>("nextval('runs')"))
        .get_result(conn)
        .unwrap()
}

#[test]
fn an_error_that_only_sounds_like_a_refuted_key_is_the_callers_at_once() {
    let app = products();
    let conn = &mut app.pool.get().unwrap();
    let bare = &mut app.guard.connection();
    assert_eq!(recorded("5", conn), Ok(1));
    for failing in FAILING {
        let expected = plain(failing, bare).unwrap_err();
        let before = runs(bare);
        plain(failing, bare).unwrap_err();
        let plainly = runs(bare) - before;
        let before = runs(bare);
        let error = recorded(failing, conn).unwrap_err();
        assert_eq!(runs(bare) - before, plainly, "{failing}");
        assert_eq!(error, expected, "{failing}");
        let error = conn.transaction(|conn| {
            conn.batch_execute("SELECT 1")?;
            recorded(failing, conn)
        });
        assert_eq!(error, Err(expected), "{failing}");
    }
    assert_eq!(app.trail().len(), 1);
}
