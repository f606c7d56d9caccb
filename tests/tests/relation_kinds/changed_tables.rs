//! Which relation a name means, and what its key is worth, may change while a connection lives.

use audit_diesel::{AuditError, Auditable, audited};
use audit_tests::app::postgres::{App, Conn, app};
use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use diesel::result::QueryResult;

diesel::table! { things (id) { id -> Integer, name -> Text, n -> BigInt } }

#[derive(Debug, Clone, PartialEq, Queryable, Selectable, Auditable)]
#[diesel(table_name = things)]
struct Thing {
    id: i32,
    name: String,
    n: i64,
}

const COLUMNS: &str = "id int NOT NULL, name text NOT NULL, n bigint NOT NULL";

fn update_x(conn: &mut Conn) -> QueryResult<usize> {
    audited::update(things::table.filter(things::name.eq("x")))
        .set(things::n.eq(things::n + 1))
        .execute(conn)
}

fn is_refused(result: QueryResult<usize>) -> bool {
    let error = result.unwrap_err();
    match AuditError::of(&error) {
        Some(AuditError::KeyNotUnique { table, key }) => table == r#""things""# && key == "id",
        _ => panic!("{error}"),
    }
}

/// One schema with a key, and one without, whose rows are no two by it.
fn two_tenants() -> App {
    let app = app();
    let mut conn = app.guard.connection();
    conn.batch_execute(&format!(
        "CREATE SCHEMA with_key; CREATE SCHEMA without;
         CREATE TABLE with_key.things ({COLUMNS}, PRIMARY KEY (id));
         CREATE TABLE without.things ({COLUMNS});
         INSERT INTO with_key.things VALUES (1, 'x', 0), (2, 'y', 5);
         INSERT INTO without.things VALUES (1, 'x', 0), (1, 'y', 5)"
    ))
    .unwrap();
    app
}

fn numbers(schema: &str, app: &App) -> Vec<i64> {
    let conn = &mut app.guard.connection();
    conn.batch_execute(&format!("SET search_path = {schema}"))
        .unwrap();
    things::table
        .select(things::n)
        .order(things::n)
        .load(conn)
        .unwrap()
}

/// Each way in which a connection comes to another search path, where it may be told, and where not.
#[test]
fn the_key_is_that_of_the_relation_that_the_search_path_names_now() {
    for way in [
        "SET search_path = PATH",
        "SELECT set_config('search_path', 'PATH', false)",
        "DO $$ BEGIN SET search_path = PATH; END $$",
    ] {
        let app = two_tenants();
        let conn = &mut app.pool.get().unwrap();
        let go = |path: &str, conn: &mut Conn| {
            conn.batch_execute(&way.replace("PATH", path)).unwrap();
        };
        for turn in 1..=3 {
            go("with_key", conn);
            assert_eq!(update_x(conn), Ok(1), "{way}");
            go("without", conn);
            assert!(is_refused(update_x(conn)), "{way}");
            assert_eq!(numbers("with_key", &app), [turn, 5], "{way}");
        }
        assert_eq!(numbers("without", &app), [0, 5], "{way}");
        assert_eq!(app.trail().len(), 3);
    }
}

#[test]
fn in_a_transaction_nothing_is_written_either() {
    for way in [
        "SET LOCAL search_path = without",
        "SELECT set_config('search_path', 'without', true)",
    ] {
        let app = two_tenants();
        let conn = &mut app.pool.get().unwrap();
        conn.batch_execute("SET search_path = with_key").unwrap();
        assert_eq!(update_x(conn), Ok(1));
        let refused = conn.transaction(|conn| {
            conn.batch_execute(way)?;
            update_x(conn)
        });
        assert!(is_refused(refused), "{way}");
        // And after it the path is what it was.
        assert_eq!(update_x(conn), Ok(1), "{way}");
        assert_eq!(numbers("without", &app), [0, 5], "{way}");
        assert_eq!(numbers("with_key", &app), [2, 5], "{way}");
    }
}

/// A role may see other schemas, and has one of its own name.
#[test]
fn the_key_is_that_of_the_relation_that_the_role_sees() {
    let app = two_tenants();
    let conn = &mut app.pool.get().unwrap();
    conn.batch_execute(
        "DO $$ BEGIN CREATE ROLE audit_test_sees_one; EXCEPTION WHEN OTHERS THEN NULL; END $$;
         GRANT USAGE ON SCHEMA without TO audit_test_sees_one;
         GRANT ALL ON without.things, with_key.things TO audit_test_sees_one;
         SET search_path = with_key, without",
    )
    .unwrap();
    assert_eq!(update_x(conn), Ok(1));
    conn.batch_execute("SET ROLE audit_test_sees_one").unwrap();
    assert!(is_refused(update_x(conn)));
    conn.batch_execute("RESET ROLE").unwrap();
    assert_eq!(update_x(conn), Ok(1));
    assert_eq!(numbers("without", &app), [0, 5]);
}

/// What another session does to the table, of which this connection hears nothing.
#[test]
fn a_key_that_is_gone_is_gone_for_connections_that_live() {
    for (what, undo) in [
        (
            "ALTER TABLE things DROP CONSTRAINT things_pkey; INSERT INTO things VALUES (1, 'y', 5)",
            "DELETE FROM things WHERE name = 'y'; ALTER TABLE things ADD PRIMARY KEY (id)",
        ),
        (
            "CREATE TABLE kids () INHERITS (things); INSERT INTO kids VALUES (1, 'y', 5)",
            "DROP TABLE kids",
        ),
        (
            "ALTER TABLE things RENAME TO old_things; CREATE VIEW things AS SELECT * FROM old_things
                 UNION ALL SELECT 1, 'y', 5",
            "DROP VIEW things; ALTER TABLE old_things RENAME TO things",
        ),
        (
            "ALTER TABLE things RENAME id TO number; ALTER TABLE things ADD id int NOT NULL DEFAULT 1;
             INSERT INTO things (number, name, n) VALUES (2, 'y', 5)",
            "DELETE FROM things WHERE name = 'y'; ALTER TABLE things DROP id;
             ALTER TABLE things RENAME number TO id",
        ),
        (
            "ALTER TABLE things DROP CONSTRAINT things_pkey, ADD PRIMARY KEY (id) DEFERRABLE",
            "ALTER TABLE things DROP CONSTRAINT things_pkey, ADD PRIMARY KEY (id)",
        ),
    ] {
        for in_transaction in [false, true] {
            key_gone(what, undo, in_transaction);
        }
    }
}

fn key_gone(what: &str, undo: &str, in_transaction: bool) {
    let update = |conn: &mut Conn| match in_transaction {
        false => update_x(conn),
        true => conn.transaction(|conn| {
            conn.batch_execute("SELECT 1")?;
            update_x(conn)
        }),
    };
    let app = app();
    let other = &mut app.guard.connection();
    other
        .batch_execute(&format!(
            "CREATE TABLE things ({COLUMNS}, PRIMARY KEY (id)); INSERT INTO things VALUES (1, 'x', 0)"
        ))
        .unwrap();
    let conn = &mut app.pool.get().unwrap();
    assert_eq!(update(conn), Ok(1), "{what}");
    assert_eq!(update(conn), Ok(1), "{what}");
    other.batch_execute(what).unwrap();
    let before: Vec<Thing> = things::table.order(things::name).load(other).unwrap();
    assert!(is_refused(update(conn)), "{what}");
    assert!(is_refused(update(conn)), "{what}");
    let after: Vec<Thing> = things::table.order(things::name).load(other).unwrap();
    assert_eq!(before, after, "{what}");
    assert_eq!(app.trail().len(), 2, "{what}");
    other.batch_execute(undo).unwrap();
    assert_eq!(update(conn), Ok(1), "{undo}");
}

/// A function may do so unseen.
#[test]
fn a_temporary_table_that_shadows_another_one_is_what_is_updated() {
    let app = two_tenants();
    let conn = &mut app.pool.get().unwrap();
    conn.batch_execute("SET search_path = with_key").unwrap();
    assert_eq!(update_x(conn), Ok(1));
    conn.batch_execute(&format!(
        "DO $$ BEGIN CREATE TEMP TABLE things ({COLUMNS});
         INSERT INTO pg_temp.things VALUES (1, 'x', 0), (1, 'y', 5); END $$"
    ))
    .unwrap();
    assert!(is_refused(update_x(conn)));
    conn.batch_execute("DO $$ BEGIN DROP TABLE pg_temp.things; END $$")
        .unwrap();
    assert_eq!(update_x(conn), Ok(1));
    assert_eq!(numbers("with_key", &app), [2, 5]);
}

/// A user may be allowed to read the columns one by one.
#[test]
fn a_user_without_rights_on_the_whole_table_updates_it() {
    let app = two_tenants();
    let conn = &mut app.pool.get().unwrap();
    conn.batch_execute(
        "DO $$ BEGIN CREATE ROLE audit_test_columns; EXCEPTION WHEN OTHERS THEN NULL; END $$;
         GRANT USAGE ON SCHEMA with_key TO audit_test_columns;
         GRANT SELECT (id, name, n), UPDATE (n) ON with_key.things TO audit_test_columns;
         SET search_path = with_key; SET ROLE audit_test_columns",
    )
    .unwrap();
    for _ in 0..2 {
        assert_eq!(update_x(conn), Ok(1));
    }
    app.guard
        .connection()
        .batch_execute("ALTER TABLE with_key.things DROP CONSTRAINT things_pkey")
        .unwrap();
    assert!(is_refused(update_x(conn)));
    assert_eq!(numbers("with_key", &app), [2, 5]);
}
