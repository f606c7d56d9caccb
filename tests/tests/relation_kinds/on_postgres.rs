use std::collections::BTreeMap;

use audit_diesel::{Auditable, audited};
use audit_tests::app::postgres::{App, Conn, app};
use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use diesel::result::QueryResult;

use super::promised::{Outcome, promised};

diesel::table! {
    items (id) {
        id -> Integer,
        tenant -> Integer,
        role -> Text,
    }
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Queryable, Selectable, Auditable)]
#[diesel(table_name = items)]
struct Item {
    id: i32,
    tenant: i32,
    role: String,
}

type Row = (i32, i32, String);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Write {
    Insert,
    Update,
    Delete,
}

const WRITES: [Write; 3] = [Write::Insert, Write::Update, Write::Delete];

fn plain(write: Write, conn: &mut Conn) -> QueryResult<usize> {
    match write {
        Write::Insert => diesel::insert_into(items::table)
            .values((items::id.eq(9), items::tenant.eq(1), items::role.eq("new")))
            .execute(conn),
        Write::Update => diesel::update(items::table.filter(items::tenant.eq(1)))
            .filter(items::id.eq(7))
            .set(items::role.eq("admin"))
            .execute(conn),
        Write::Delete => {
            diesel::delete(items::table.filter(items::tenant.eq(1).and(items::id.eq(7))))
                .execute(conn)
        }
    }
}

fn with_record(write: Write, conn: &mut Conn) -> QueryResult<usize> {
    match write {
        Write::Insert => audited::insert_into(items::table)
            .values((items::id.eq(9), items::tenant.eq(1), items::role.eq("new")))
            .execute(conn),
        Write::Update => audited::update(items::table.filter(items::tenant.eq(1)))
            .filter(items::id.eq(7))
            .set(items::role.eq("admin"))
            .execute(conn),
        Write::Delete => {
            audited::delete(items::table.filter(items::tenant.eq(1).and(items::id.eq(7))))
                .execute(conn)
        }
    }
}

const COLUMNS: &str = "id int NOT NULL, tenant int NOT NULL, role text NOT NULL";
const ROWS: &str = "(7, 1, 'member'), (8, 1, 'member')";
/// The same number in another tenant.
const TWINS: &str = "(7, 1, 'member'), (7, 2, 'member'), (8, 1, 'member')";

/// A kind of relation, called `items`, in the schema that comes first in the search path.
struct Kind {
    name: &'static str,
    setup: String,
    /// Where else rows may end up.
    elsewhere: &'static [&'static str],
}

fn kind(name: &'static str, setup: impl Into<String>) -> Kind {
    Kind {
        name,
        setup: setup.into(),
        elsewhere: &[],
    }
}

fn kinds(app: &App) -> Vec<Kind> {
    let table = format!(
        "CREATE TABLE items ({COLUMNS}, PRIMARY KEY (id)); INSERT INTO items VALUES {ROWS};"
    );
    let base = format!(
        "CREATE TABLE base ({COLUMNS}, PRIMARY KEY (tenant, id)); INSERT INTO base VALUES {TWINS};"
    );
    let (_, place) = app
        .guard
        .url()
        .split_once('@')
        .map(|(a, b)| (a.to_owned(), b.to_owned()))
        .unwrap();
    let (place, database) = place.split_once('/').unwrap();
    let (host, port) = place.split_once(':').unwrap();
    vec![
        kind("table with a primary key", table.clone()),
        kind(
            "table with a unique index over columns that are NOT NULL",
            format!("CREATE TABLE items ({COLUMNS}, UNIQUE (id)); INSERT INTO items VALUES {ROWS};"),
        ),
        kind(
            "table without either",
            format!("CREATE TABLE items ({COLUMNS}); INSERT INTO items VALUES {TWINS};"),
        ),
        kind(
            "partitioned table with a primary key",
            format!(
                "CREATE TABLE items ({COLUMNS}, PRIMARY KEY (id)) PARTITION BY HASH (id);
                 CREATE TABLE p0 PARTITION OF items FOR VALUES WITH (MODULUS 2, REMAINDER 0);
                 CREATE TABLE p1 PARTITION OF items FOR VALUES WITH (MODULUS 2, REMAINDER 1);
                 INSERT INTO items VALUES {ROWS};"
            ),
        ),
        kind(
            "temporary table that shadows another one",
            format!("{table} CREATE TEMP TABLE items ({COLUMNS}, PRIMARY KEY (id)); INSERT INTO pg_temp.items VALUES {ROWS};"),
        ),
        Kind {
            elsewhere: &["base"],
            ..kind(
                "view that PostgreSQL can update",
                format!("{base} CREATE VIEW items AS SELECT id, tenant, role FROM base;"),
            )
        },
        Kind {
            elsewhere: &["base"],
            ..kind(
                "view with INSTEAD OF triggers",
                format!(
                    "{base} CREATE VIEW items AS SELECT id, tenant, role FROM base UNION ALL SELECT 0, 0, '';
                     CREATE FUNCTION instead() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
                         IF TG_OP = 'INSERT' THEN INSERT INTO base VALUES (NEW.*); RETURN NEW; END IF;
                         IF TG_OP = 'UPDATE' THEN
                             UPDATE base SET role = NEW.role WHERE base.id = OLD.id AND base.tenant = OLD.tenant;
                             RETURN NEW;
                         END IF;
                         DELETE FROM base WHERE base.id = OLD.id AND base.tenant = OLD.tenant; RETURN OLD;
                     END $$;
                     CREATE TRIGGER t INSTEAD OF INSERT OR UPDATE OR DELETE ON items
                         FOR EACH ROW EXECUTE FUNCTION instead();"
                ),
            )
        },
        Kind {
            elsewhere: &["base"],
            ..kind(
                "foreign table",
                format!(
                    "{base} CREATE EXTENSION IF NOT EXISTS postgres_fdw SCHEMA public;
                     CREATE SERVER there_SCHEMA FOREIGN DATA WRAPPER postgres_fdw
                         OPTIONS (host '{host}', port '{port}', dbname '{database}');
                     CREATE USER MAPPING FOR CURRENT_USER SERVER there_SCHEMA
                         OPTIONS (user 'postgres', password_required 'false');
                     CREATE FOREIGN TABLE items ({COLUMNS}) SERVER there_SCHEMA
                         OPTIONS (schema_name 'SCHEMA', table_name 'base');"
                ),
            )
        },
        kind(
            "table that others inherit from",
            format!(
                "{table} CREATE TABLE kids (PRIMARY KEY (id)) INHERITS (items);
                 INSERT INTO kids VALUES (7, 2, 'member');"
            ),
        ),
        kind(
            "table that others inherit from, with a BEFORE INSERT trigger",
            format!(
                "{table} CREATE TABLE kids (PRIMARY KEY (id)) INHERITS (items);
                 CREATE FUNCTION route() RETURNS trigger LANGUAGE plpgsql AS
                     $$ BEGIN INSERT INTO kids VALUES (NEW.*); RETURN NULL; END $$;
                 CREATE TRIGGER t BEFORE INSERT ON items FOR EACH ROW EXECUTE FUNCTION route();"
            ),
        ),
        kind(
            "table that inherits from another one",
            format!(
                "CREATE TABLE parent ({COLUMNS});
                 CREATE TABLE items (PRIMARY KEY (id)) INHERITS (parent); INSERT INTO items VALUES {ROWS};"
            ),
        ),
        kind(
            "materialised view",
            format!("{base} CREATE MATERIALIZED VIEW items AS SELECT id, tenant, role FROM base;"),
        ),
        Kind {
            elsewhere: &["log"],
            ..kind(
                "table with rules DO ALSO",
                format!(
                    "{table} CREATE TABLE log ({COLUMNS});
                     CREATE RULE i AS ON INSERT TO items DO ALSO INSERT INTO log VALUES (NEW.id, NEW.tenant, 'insert');
                     CREATE RULE u AS ON UPDATE TO items DO ALSO INSERT INTO log VALUES (NEW.id, NEW.tenant, 'update');
                     CREATE RULE d AS ON DELETE TO items DO ALSO INSERT INTO log VALUES (OLD.id, OLD.tenant, 'delete');"
                ),
            )
        },
        Kind {
            elsewhere: &["log"],
            ..kind(
                "table with rules DO INSTEAD",
                format!(
                    "{table} CREATE TABLE log ({COLUMNS});
                     CREATE RULE i AS ON INSERT TO items DO INSTEAD INSERT INTO log VALUES (NEW.id, NEW.tenant, 'insert');
                     CREATE RULE u AS ON UPDATE TO items DO INSTEAD NOTHING;
                     CREATE RULE d AS ON DELETE TO items DO INSTEAD
                         UPDATE items SET role = 'deleted' WHERE items.id = OLD.id RETURNING OLD.*;"
                ),
            )
        },
        kind(
            "table with row level security",
            format!(
                "{table} {} CREATE POLICY p ON items USING (tenant = 1);",
                under_security()
            ),
        ),
        kind(
            "table with row level security, where the user may write rows that it may not read",
            format!(
                "{table} INSERT INTO items VALUES (1, 1, 'seen'); {}
                 CREATE POLICY s ON items FOR SELECT USING (role = 'seen');
                 CREATE POLICY i ON items FOR INSERT WITH CHECK (true);
                 CREATE POLICY u ON items FOR UPDATE USING (true);
                 CREATE POLICY d ON items FOR DELETE USING (true);",
                under_security()
            ),
        ),
    ]
}

/// Superusers see all rows.
fn under_security() -> &'static str {
    "DO $$ BEGIN CREATE ROLE audit_test_writer; EXCEPTION WHEN OTHERS THEN NULL; END $$;
     GRANT USAGE ON SCHEMA SCHEMA TO audit_test_writer;
     GRANT ALL ON items TO audit_test_writer;
     ALTER TABLE items ENABLE ROW LEVEL SECURITY;
     SET ROLE audit_test_writer; RESET ROLE;"
}

/// Lets the relation be in a schema of its own, and the connection work there.
fn set_up(kind: &Kind, schema: &str, conn: &mut Conn) {
    let setup = kind
        .setup
        .replace("SCHEMA SCHEMA", &format!("SCHEMA {schema}"));
    let setup = setup
        .replace("there_SCHEMA", &format!("there_{schema}"))
        .replace("'SCHEMA'", &format!("'{schema}'"));
    conn.batch_execute(&format!(
        "CREATE SCHEMA {schema}; SET search_path = {schema}, public; {setup}"
    ))
    .unwrap_or_else(|error| panic!("{}: {error}", kind.name));
}

fn has_security(kind: &Kind) -> bool {
    kind.setup.contains("audit_test_writer")
}

/// What the relation holds, and the tables that rows may end up in.
fn rows(kind: &Kind, conn: &mut Conn) -> BTreeMap<&'static str, Vec<Row>> {
    let sorted = |mut rows: Vec<Row>| {
        rows.sort();
        rows
    };
    if has_security(kind) {
        conn.batch_execute("RESET ROLE").unwrap();
    }
    let mut all = BTreeMap::new();
    all.insert("items", sorted(items::table.load(conn).unwrap()));
    for name in kind.elsewhere {
        let select = format!("id, tenant, role FROM {name}");
        let select = diesel::dsl::sql::<(
            diesel::sql_types::Integer,
            diesel::sql_types::Integer,
            diesel::sql_types::Text,
        )>(&select);
        all.insert(name, sorted(diesel::select(select).load(conn).unwrap()));
    }
    all
}

fn walk(kind: &Kind, write: Write, promised: Outcome, app: &App, number: usize) {
    let what = format!("{} of a {}", format!("{write:?}").to_lowercase(), kind.name);
    let before_all = app.trail().len();
    let act_as = if has_security(kind) {
        "SET ROLE audit_test_writer"
    } else {
        "RESET ROLE"
    };

    let conn = &mut app.guard.connection();
    set_up(kind, &format!("plain_{number}"), conn);
    conn.batch_execute(act_as).unwrap();
    let expected = plain(write, conn);
    let expected_rows = rows(kind, conn);

    let conn = &mut app.guard.connection();
    set_up(kind, &format!("audited_{number}"), conn);
    app.auditor.attach(conn);
    let before = rows(kind, conn);
    conn.batch_execute(act_as).unwrap();
    let result = with_record(write, conn);
    let after = rows(kind, conn);
    let records = app.trail().len() - before_all;

    match promised {
        Outcome::Recorded => {
            assert_eq!(result, expected, "{what}");
            assert_eq!(after, expected_rows, "{what}");
            assert_eq!(records, expected.unwrap(), "records of {what}");
        }
        Outcome::Refused => {
            let message = result.expect_err(&what).to_string();
            assert!(message.contains("nothing was"), "{what}: {message}");
            assert!(message.contains("exempt("), "{what}: {message}");
            assert_eq!(after, before, "{what}");
            assert_eq!(records, 0, "{what}");
        }
        Outcome::Fails => {
            expected.expect_err(&what);
            result.expect_err(&what);
            assert_eq!(after, before, "{what}");
            assert_eq!(records, 0, "{what}");
        }
    }
}

#[test]
fn every_kind_of_relation_is_written_as_the_docs_say() {
    let app = app();
    let mut promised = promised("PostgreSQL");
    for (number, kind) in kinds(&app).iter().enumerate() {
        let outcomes = promised.remove(kind.name);
        let outcomes = outcomes.unwrap_or_else(|| panic!("the docs do not tell of {}", kind.name));
        for (at, write) in WRITES.into_iter().enumerate() {
            walk(kind, write, outcomes[at], &app, number * 3 + at);
        }
    }
    assert!(promised.is_empty(), "untested: {:?}", promised.keys());
}

/// Without a filter on a column plain Diesel reaches rows that cannot be read.
#[test]
fn rows_that_cannot_be_read_are_not_passed_over() {
    let app = app();
    let kinds = kinds(&app);
    let kind = kinds
        .iter()
        .find(|kind| kind.name.contains("may not read"))
        .unwrap();
    let conn = &mut app.guard.connection();
    set_up(kind, "hidden", conn);
    app.auditor.attach(conn);
    let before = rows(kind, conn);
    conn.batch_execute("SET ROLE audit_test_writer").unwrap();
    let update = audited::update(items::table)
        .set(items::role.eq("x"))
        .execute(conn);
    let delete = audited::delete(items::table).execute(conn);
    for error in [update.unwrap_err(), delete.unwrap_err()] {
        assert!(
            error.to_string().contains("name the rows by a filter"),
            "{error}"
        );
    }
    assert_eq!(rows(kind, conn), before);
    conn.batch_execute("SET ROLE audit_test_writer").unwrap();
    let seen = audited::delete(items::table.filter(items::id.gt(0))).execute(conn);
    assert_eq!(seen, Ok(1));
    assert_eq!(app.trail().len(), 1);
}
