use audit_diesel::{Auditable, audited};
use audit_tests::app::sqlite::{App, Conn, app};
use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use diesel::result::QueryResult;

use super::promised::{Outcome, promised};

diesel::table! {
    items (id) {
        id -> Integer,
        role -> Text,
    }
}

#[derive(Debug, Clone, PartialEq, Queryable, Selectable, Auditable)]
#[diesel(table_name = items)]
struct Item {
    id: i32,
    role: String,
}

diesel::table! {
    papers (rowid) {
        rowid -> BigInt,
        title -> Text,
    }
}

#[derive(Debug, Clone, PartialEq, Queryable, Selectable, Auditable)]
#[diesel(table_name = papers, primary_key(rowid))]
struct Paper {
    rowid: i64,
    title: String,
}

const TABLE: &str = "CREATE TABLE items (id integer NOT NULL PRIMARY KEY, role text NOT NULL);
    INSERT INTO items VALUES (7, 'member'), (8, 'member');";

const VIEW: &str = "CREATE TABLE base (id integer NOT NULL PRIMARY KEY, role text NOT NULL);
    INSERT INTO base VALUES (7, 'member'), (8, 'member');
    CREATE VIEW items AS SELECT id, role FROM base;";

fn kinds() -> Vec<(&'static str, String)> {
    vec![
        ("table", TABLE.to_owned()),
        (
            "table WITHOUT ROWID",
            "CREATE TABLE items (id integer NOT NULL PRIMARY KEY, role text NOT NULL) WITHOUT ROWID;
             INSERT INTO items VALUES (7, 'member'), (8, 'member');"
                .to_owned(),
        ),
        (
            "temporary table that shadows another one",
            format!(
                "CREATE VIEW items AS SELECT 7 AS id, 'member' AS role; {}",
                TABLE.replace("CREATE TABLE", "CREATE TEMP TABLE")
            ),
        ),
        ("view without triggers", VIEW.to_owned()),
        (
            "view with INSTEAD OF triggers",
            format!(
                "{VIEW}
                 CREATE TRIGGER i INSTEAD OF INSERT ON items BEGIN
                     INSERT INTO base VALUES (NEW.id, NEW.role); END;
                 CREATE TRIGGER u INSTEAD OF UPDATE ON items BEGIN
                     UPDATE base SET role = NEW.role WHERE id = OLD.id; END;
                 CREATE TRIGGER d INSTEAD OF DELETE ON items BEGIN
                     DELETE FROM base WHERE id = OLD.id; END;"
            ),
        ),
    ]
}

fn plain(write: usize, conn: &mut Conn) -> QueryResult<usize> {
    match write {
        0 => diesel::insert_into(items::table)
            .values((items::id.eq(9), items::role.eq("new")))
            .execute(conn),
        1 => diesel::update(items::table.find(7))
            .set(items::role.eq("admin"))
            .execute(conn),
        _ => diesel::delete(items::table.find(7)).execute(conn),
    }
}

fn with_record(write: usize, conn: &mut Conn) -> QueryResult<usize> {
    match write {
        0 => audited::insert_into(items::table)
            .values((items::id.eq(9), items::role.eq("new")))
            .execute(conn),
        1 => audited::update(items::table.find(7))
            .set(items::role.eq("admin"))
            .execute(conn),
        _ => audited::delete(items::table.find(7)).execute(conn),
    }
}

fn rows(conn: &mut Conn) -> Vec<Item> {
    items::table.order(items::id).load(conn).unwrap()
}

/// How many rows it changes: 0 is what SQLite counts for a view.
fn changed(before: &[Item], after: &[Item]) -> usize {
    let gone = before.iter().filter(|row| !after.contains(row)).count();
    let come = after.iter().filter(|row| !before.contains(row)).count();
    gone.max(come)
}

fn set_up(setup: &str) -> (App, Conn) {
    let app = app();
    let path = app.guard.path().join("app.db");
    let mut conn = Conn::establish(path.to_str().unwrap()).unwrap();
    conn.batch_execute(setup).unwrap();
    (app, conn)
}

fn walk(name: &str, setup: &str, write: usize, promised: Outcome) {
    let what = format!("{} of a {name}", ["insert", "update", "delete"][write]);
    let (_app, mut conn) = set_up(setup);
    let expected = plain(write, &mut conn);
    let expected_rows = rows(&mut conn);

    let (app, mut conn) = set_up(setup);
    let conn = &mut conn;
    app.auditor.attach(conn);
    let before = rows(conn);
    let result = with_record(write, conn);
    let after = rows(conn);
    match promised {
        Outcome::Recorded => {
            assert_eq!(result, expected, "{what}");
            assert_eq!(after, expected_rows, "{what}");
            assert_eq!(app.trail().len(), changed(&before, &after), "{what}");
            let unreadable = app.records().iter().any(|it| it.resource_id.is_none());
            assert!(!unreadable, "{what}");
        }
        Outcome::Refused => {
            let message = result.expect_err(&what).to_string();
            assert!(message.contains("nothing was"), "{what}: {message}");
            assert!(message.contains("exempt("), "{what}: {message}");
        }
        Outcome::Fails => {
            expected.expect_err(&what);
            result.expect_err(&what);
        }
    }
    if promised != Outcome::Recorded {
        assert_eq!(after, before, "{what}");
        assert!(app.trail().is_empty(), "{what}");
    }
}

#[test]
fn every_kind_of_relation_is_written_as_the_docs_say() {
    let mut promised = promised("SQLite");
    assert_eq!(
        promised.remove("virtual table (FTS5)"),
        Some([Outcome::Refused; 3])
    );
    for (name, setup) in kinds() {
        let outcomes = promised.remove(name);
        let outcomes = outcomes.unwrap_or_else(|| panic!("the docs do not tell of {name}"));
        for (write, outcome) in outcomes.into_iter().enumerate() {
            walk(name, &setup, write, outcome);
        }
    }
    assert!(promised.is_empty(), "untested: {:?}", promised.keys());
}

#[test]
fn a_virtual_table_is_refused_before_anything_is_written() {
    let (app, mut conn) = set_up(
        "CREATE VIRTUAL TABLE papers USING fts5(title);
         INSERT INTO papers (rowid, title) VALUES (1, 'on audits')",
    );
    let conn = &mut conn;
    app.auditor.attach(conn);
    let insert = || audited::insert_into(papers::table).values(papers::title.eq("on trails"));
    for result in [
        insert().execute(conn),
        insert().on_conflict_do_nothing().execute(conn),
        audited::update(papers::table.find(1))
            .set(papers::title.eq("x"))
            .execute(conn),
        audited::delete(papers::table.find(1)).execute(conn),
    ] {
        let message = result.unwrap_err().to_string();
        assert!(message.contains("virtual table"), "{message}");
    }
    let titles: Vec<String> = papers::table.select(papers::title).load(conn).unwrap();
    assert_eq!(titles, ["on audits"]);
    assert!(app.trail().is_empty());
}

/// What a view's trigger is given is returned, as by plain Diesel, though it counts as nothing.
#[test]
fn a_view_returns_its_rows_and_counts_none() {
    let kinds = kinds();
    let (_, setup) = kinds
        .iter()
        .find(|(name, _)| name.contains("INSTEAD OF"))
        .unwrap();
    let (app, mut conn) = set_up(setup);
    let conn = &mut conn;
    app.auditor.attach(conn);
    let gone: Vec<Item> = audited::delete(items::table).get_results(conn).unwrap();
    assert_eq!(gone.len(), 2);
    assert_eq!(app.trail().len(), 2);
    assert_eq!(with_record(0, conn), Ok(0));
    assert_eq!(
        app.trail()[2],
        r#"insert items 9 {"id":{"new":9},"role":{"new":"new"}}"#
    );
}
