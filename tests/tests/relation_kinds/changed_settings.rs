//! Which relation a name means now: after settings that went away with their transaction or savepoint, in
//! words that mean something else by now, and in statements that failed.

use audit_diesel::{Auditable, audited};
use audit_tests::app::postgres::{App, Conn, app};
use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use diesel::result::QueryResult;

diesel::table! { things (id) { id -> Integer, n -> BigInt } }

#[derive(Debug, Clone, PartialEq, Queryable, Selectable, Auditable)]
#[diesel(table_name = things)]
struct Thing {
    id: i32,
    n: i64,
}

/// The table with a primary key, and one whose unique index PostgreSQL has to be asked for: an update
/// that takes the one for the other fails, though plain Diesel's does not.
fn tables() -> App {
    let app = app();
    let conn = &mut app.guard.connection();
    conn.batch_execute(
        "DO $$ BEGIN CREATE ROLE audit_test_pk; EXCEPTION WHEN OTHERS THEN NULL; END $$;
         DO $$ BEGIN CREATE ROLE audit_test_uq; EXCEPTION WHEN OTHERS THEN NULL; END $$;
         CREATE SCHEMA uq; CREATE SCHEMA audit_test_pk; CREATE SCHEMA audit_test_uq;
         CREATE TABLE public.things (id int PRIMARY KEY, n bigint NOT NULL);
         CREATE TABLE uq.things (id int NOT NULL UNIQUE, n bigint NOT NULL);
         CREATE TABLE audit_test_pk.things (LIKE public.things INCLUDING ALL);
         CREATE TABLE audit_test_uq.things (LIKE uq.things INCLUDING ALL);
         GRANT USAGE ON SCHEMA audit_test_pk, audit_test_uq TO public;
         GRANT ALL ON audit_test_pk.things, audit_test_uq.things TO public;
         INSERT INTO public.things VALUES (1, 0); INSERT INTO uq.things VALUES (1, 0);
         INSERT INTO audit_test_pk.things VALUES (1, 0); INSERT INTO audit_test_uq.things VALUES (1, 0)",
    )
    .unwrap();
    app
}

fn update(conn: &mut Conn) -> QueryResult<usize> {
    // From here on there is nowhere to go back to.
    conn.batch_execute("SELECT 1")?;
    audited::update(things::table.find(1))
        .set(things::n.eq(things::n + 1))
        .execute(conn)
}

/// Runs statements; `?` updates the table that is meant then, and what begins with `!` fails.
fn walk(script: &[&str]) {
    let app = tables();
    let conn = &mut app.pool.get().unwrap();
    let (mut is_open, mut updates) = (false, 0);
    for (at, step) in script.iter().enumerate() {
        let result = match *step {
            "?" if is_open => update(conn).map(drop),
            "?" => conn.transaction(|conn| update(conn)).map(drop),
            step => conn.batch_execute(step.trim_start_matches('!')),
        };
        assert_eq!(
            result.is_err(),
            step.starts_with('!'),
            "{at} of {script:?}: {result:?}"
        );
        updates += usize::from(*step == "?");
        is_open |= *step == "BEGIN";
        is_open &= !matches!(*step, "COMMIT" | "ROLLBACK");
    }
    let undone = script
        .iter()
        .any(|step| step.starts_with("ROLLBACK") || step.starts_with('!'));
    assert!(undone || app.trail().len() == updates, "{script:?}");
}

#[test]
fn a_setting_ends_with_its_transaction_or_savepoint() {
    let (uq, public) = ("SET search_path = uq", "SET search_path = public");
    walk(&[
        uq,
        "BEGIN",
        "SAVEPOINT s",
        public,
        "?",
        "ROLLBACK TO s",
        "?",
        "COMMIT",
        "?",
    ]);
    walk(&[uq, "BEGIN", public, "?", "!SELECT 1/0", "COMMIT", "?"]);
    walk(&[uq, "BEGIN", public, "?", "ROLLBACK", "?"]);
    walk(&[
        "?",
        "BEGIN",
        uq,
        "SET LOCAL search_path = public",
        "?",
        "COMMIT",
        "?",
    ]);
    walk(&[
        "?",
        "BEGIN",
        "SET LOCAL search_path = uq",
        "?",
        "COMMIT",
        "?",
    ]);
    walk(&[
        "?",
        "BEGIN",
        "SELECT set_config('search_path', 'uq', true)",
        "?",
        "COMMIT",
        "?",
    ]);
}

#[test]
fn a_setting_that_did_not_happen_is_none() {
    let (uq, public) = ("SET search_path = uq", "SET search_path = public");
    walk(&[
        public,
        "?",
        uq,
        "?",
        "!SET search_path = public; SELECT 1/0",
        "?",
    ]);
    let local = "SET LOCAL search_path = uq";
    walk(&[local, "?", "BEGIN", local, "?", "COMMIT", "?"]);
}

#[test]
fn the_same_words_may_mean_something_else() {
    let (pk, uq) = ("SET ROLE audit_test_pk", "SET ROLE audit_test_uq");
    walk(&[pk, "RESET ALL", "?", uq, "RESET ALL", "?"]);
    walk(&[
        pk,
        "?",
        "SET SESSION AUTHORIZATION audit_test_uq",
        "SET ROLE audit_test_uq",
        "?",
    ]);
}

#[test]
fn what_a_transaction_did_to_a_table_may_be_taken_back() {
    let (uq, key) = (
        "SET search_path = uq",
        "ALTER TABLE things ADD PRIMARY KEY (id)",
    );
    walk(&[uq, "BEGIN", key, "?", "ROLLBACK", "?"]);
    walk(&[
        uq,
        "BEGIN",
        "SAVEPOINT s",
        key,
        "?",
        "ROLLBACK TO s",
        "?",
        "COMMIT",
    ]);
    walk(&[uq, "BEGIN", key, "?", "!SELECT 1/0", "COMMIT", "?"]);
    let shadow = "CREATE TEMP TABLE things (id int NOT NULL UNIQUE, n bigint NOT NULL);
                  INSERT INTO things VALUES (1, 0)";
    walk(&["?", shadow, "?", "DISCARD TEMP", "?"]);
}
