use audit_tests::app::sqlite::*;
use diesel::prelude::*;

/// An insert of a row that is there replaces it.
const DELETE_BEFORE_INSERT: &str = "
    CREATE TRIGGER make_room BEFORE INSERT ON accounts
    BEGIN DELETE FROM accounts WHERE id = NEW.id; END;";

const TWINS: &str = "CREATE TABLE twins (
    id integer NOT NULL PRIMARY KEY AUTOINCREMENT,
    email text NOT NULL UNIQUE,
    role text NOT NULL DEFAULT 'member',
    balance bigint NOT NULL DEFAULT 0 CHECK (balance >= 0),
    note text)";

/// The type of bytes.
const BYTES: &str = "blob";

const EMPTY_BOTH: &str = "DELETE FROM accounts; DELETE FROM twins; DELETE FROM sqlite_sequence;";

/// A connection without the auditor.
fn plain_connection(app: &App) -> Conn {
    let path = app.guard.path().join("app.db");
    Conn::establish(path.to_str().unwrap()).unwrap()
}

/// SQLite has one writer at a time and no deadlocks.
fn until_no_deadlock<T>(mut run: impl FnMut() -> QueryResult<T>) -> QueryResult<T> {
    run()
}

#[path = "cases.rs"]
mod cases;

#[path = "or_ignore_on_sqlite.rs"]
mod or_ignore;

/// Rows are paired by their key: where several get another one at once, the trail says what became
/// of each key.
#[test]
fn several_changed_keys() {
    use audit_diesel::audited;
    use audit_tests::app::accounts;
    let app = app();
    let conn = &mut app.pool.get().unwrap();
    for email in ["ada", "bob"] {
        audited::insert_into(accounts::table)
            .values(accounts::email.eq(email))
            .execute(conn)
            .unwrap();
    }
    let count = audited::update(accounts::table)
        .set(accounts::id.eq(accounts::id + 10))
        .execute(conn);
    assert_eq!(count, Ok(2));
    let what = |line: &String| line.split(' ').take(3).collect::<Vec<_>>().join(" ");
    let mut trail: Vec<_> = app.trail().split_off(2).iter().map(what).collect();
    trail.sort();
    assert_eq!(
        trail,
        [
            "delete accounts 1",
            "delete accounts 2",
            "insert accounts 11",
            "insert accounts 12"
        ]
    );
}

/// A row that a trigger spared stays out of the trail.
#[test]
fn a_row_that_was_not_updated_after_all() {
    use audit_diesel::audited;
    use audit_tests::app::accounts;
    use diesel::connection::SimpleConnection;
    let app = app();
    let conn = &mut app.pool.get().unwrap();
    conn.batch_execute(
        "CREATE TRIGGER spared BEFORE UPDATE ON accounts WHEN OLD.id <> 2
         BEGIN SELECT RAISE(IGNORE); END",
    )
    .unwrap();
    for email in ["ada", "bob"] {
        audited::insert_into(accounts::table)
            .values(accounts::email.eq(email))
            .execute(conn)
            .unwrap();
    }
    let count = audited::update(accounts::table)
        .set(accounts::role.eq("admin"))
        .execute(conn);
    assert_eq!(count, Ok(1));
    assert_eq!(
        app.trail().split_off(2),
        [r#"update accounts 2 {"role":{"old":"member","new":"admin"}}"#]
    );
    let count = audited::update(accounts::table.find(1))
        .set(accounts::role.eq("admin"))
        .execute(conn);
    assert_eq!(count, Ok(0));
    assert_eq!(app.records().len(), 3);
}

/// The old row is read first, and such a filter names another one then.
#[test]
fn a_filter_that_is_never_the_same() {
    use audit_diesel::audited;
    use audit_tests::app::accounts;
    use diesel::connection::SimpleConnection;
    use diesel::dsl::sql;
    use diesel::sql_types::Integer;
    let app = app();
    let conn = &mut app.pool.get().unwrap();
    conn.batch_execute(
        "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1000)
         INSERT INTO accounts (email) SELECT 'account ' || i FROM n",
    )
    .unwrap();
    for _ in 0..5 {
        let one_of_them = sql::<Integer>("(SELECT id FROM accounts ORDER BY random() LIMIT 1)");
        let count = audited::update(accounts::table.filter(accounts::id.eq(one_of_them)))
            .set(accounts::role.eq("winner"))
            .execute(conn);
        assert_eq!(count, Ok(1));
    }
    let records = app.records();
    assert_eq!(records.len(), 5);
    let is_of_new_row =
        |changes: &str| changes.contains(r#""role":{"new":"winner"}"#) && !changes.contains("old");
    for record in records {
        // By chance it was the same row.
        let changes = record.changes.map(|changes| changes.as_json().to_owned());
        let expected = r#"{"role":{"old":"member","new":"winner"}}"#;
        assert!(
            changes.as_deref() == Some(expected)
                || (record.extra["unpaired"] == true
                    && changes.as_deref().is_some_and(is_of_new_row)),
            "{changes:?}"
        );
    }
}

#[path = "unreadable_of_sqlite.rs"]
mod unreadable;
