//! `debug_query` of audited statements.

use std::sync::{Arc, Mutex};

use audit_diesel::{AuditedInsertDsl, audited};
use audit_tests::app::{Account, NewAccount, accounts};
use diesel::connection::{Instrumentation, InstrumentationEvent};
use diesel::debug_query;
use diesel::prelude::*;
use diesel::query_builder::QueryFragment;

use super::{Backend, app_with};

/// Writes down the SQL of what runs.
#[derive(Clone, Default)]
struct Written(Arc<Mutex<Vec<String>>>);

impl Instrumentation for Written {
    fn on_connection_event(&mut self, event: InstrumentationEvent<'_>) {
        if let InstrumentationEvent::StartQuery { query, .. } = event {
            let text = query.to_string();
            let sql = text.split(" -- binds: ").next().unwrap();
            self.0.lock().unwrap().push(sql.to_owned());
        }
    }
}

impl Written {
    /// The INSERT, UPDATE and DELETE that ran since the last call, but for the one that takes SQLite's
    /// lock.
    fn writes(&self) -> String {
        let all = std::mem::take(&mut *self.0.lock().unwrap());
        let is_write = |sql: &&String| {
            ["INSERT", "UPDATE", "DELETE"].map(|verb| sql.starts_with(verb)) != [false; 3]
                && !sql.ends_with("WHERE 0")
        };
        all.iter()
            .filter(is_write)
            .cloned()
            .collect::<Vec<_>>()
            .join("; ")
    }
}

fn shown<Q: QueryFragment<Backend>>(statement: &Q) -> String {
    let text = debug_query::<Backend, _>(statement).to_string();
    let debug = format!("{:?}", debug_query::<Backend, _>(statement));
    for shown in [&text, &debug] {
        assert!(!shown.contains("s3cret"), "{shown}");
    }
    text.strip_suffix(" -- binds: []").unwrap().to_owned()
}

/// Shows it, runs it, and compares.
macro_rules! shown_as_run {
    ($written:expr, $conn:expr, $statement:expr, $run:ident $(::<$U:ty>)?) => {{
        let statement = $statement;
        let shown = shown(&statement);
        $written.writes();
        statement.$run$(::<$U>)?($conn).unwrap();
        let ran = $written.writes();
        assert!(!ran.is_empty());
        // On SQLite Diesel leaves the table's name out of some RETURNING clauses.
        assert_eq!(shown.replace("`accounts`.", ""), ran.replace("`accounts`.", ""));
    }};
}

#[test]
fn debug_query_shows_what_runs_and_no_value() {
    let (app, conn) = &mut app_with(&["ada"]);
    let written = Written::default();
    app.auditor
        .attach_chained(conn, Some(Box::new(written.clone())));
    let secret = || accounts::api_token.eq("s3cret");

    let update =
        || audited::update(accounts::table.find(1)).set((secret(), accounts::balance.eq(5)));
    shown_as_run!(written, conn, update(), execute);
    let by_secret = accounts::api_token.ne("s3cret, too");
    shown_as_run!(
        written,
        conn,
        update().filter(by_secret).into_boxed(),
        execute
    );
    let returning = || (accounts::id, accounts::balance + 3);
    shown_as_run!(
        written,
        conn,
        update().returning(returning()),
        get_results::<(i32, i64)>
    );

    let insert = || audited::insert_into(accounts::table);
    let new = NewAccount {
        email: "s3cret bob",
        api_token: "s3cret",
    };
    shown_as_run!(written, conn, insert().values(&new), execute);
    shown_as_run!(
        written,
        conn,
        insert().values(&new).on_conflict_do_nothing(),
        execute
    );
    shown_as_run!(
        written,
        conn,
        insert()
            .values((secret(), accounts::email.eq("carl")))
            .returning(returning()),
        get_results::<(i32, i64)>
    );
    shown_as_run!(
        written,
        conn,
        insert()
            .values((secret(), accounts::email.eq("carl")))
            .on_conflict(accounts::email)
            .do_nothing()
            .returning(returning()),
        get_results::<(i32, i64)>
    );
    let rows = |name: &'static str| {
        [
            (accounts::email.eq(name), secret()),
            (accounts::email.eq("s3cret"), secret()),
        ]
    };
    shown_as_run!(written, conn, insert().values(rows("dora")), execute);
    shown_as_run!(
        written,
        conn,
        insert()
            .values(rows("eve").to_vec())
            .on_conflict_do_nothing(),
        execute
    );
    let partial = vec![
        (accounts::email.eq("f"), Some(secret())),
        (accounts::email.eq("g"), None),
    ];
    shown_as_run!(written, conn, insert().values(&partial), execute);
    shown_as_run!(
        written,
        conn,
        insert().values(&partial).on_conflict_do_nothing(),
        execute
    );
    shown_as_run!(written, conn, insert().default_values(), execute);
    let select = || {
        accounts::table
            .find(1)
            .select((accounts::email.concat("+s3cret"), accounts::balance))
    };
    let columns = || (accounts::email, accounts::balance);
    shown_as_run!(
        written,
        conn,
        select()
            .audited_insert_into(accounts::table)
            .into_columns(columns()),
        execute
    );
    shown_as_run!(
        written,
        conn,
        insert()
            .values(select())
            .into_columns(columns())
            .on_conflict_do_nothing(),
        execute
    );

    let by_secret = accounts::api_token.eq("s3cret");
    shown_as_run!(
        written,
        conn,
        audited::delete(accounts::table.filter(by_secret)),
        execute
    );
    shown_as_run!(
        written,
        conn,
        audited::delete(accounts::table)
            .filter(accounts::id.lt(9))
            .returning(accounts::id),
        get_results::<i32>
    );
}

#[test]
fn debug_query_of_an_insert_of_nothing_is_empty() {
    let none: Vec<NewAccount<'_>> = Vec::new();
    let insert = audited::insert_into(accounts::table).values(&none);
    assert_eq!(shown(&insert), "");
    assert_eq!(shown(&insert.on_conflict_do_nothing()), "");
}

/// The values are in the types of Diesel that `Debug` would print.
#[test]
fn debug_of_a_statement_shows_no_value() {
    let email = || accounts::email.eq("s3cret");
    let update = audited::update(accounts::table.filter(email()));
    let insert = audited::insert_into(accounts::table).values(email());
    let target = insert.on_conflict(accounts::email).filter_target(email());
    let all = [
        format!("{update:?}"),
        format!("{:?}", update.set(email())),
        format!("{insert:?}"),
        format!("{target:?}"),
        format!("{:?}", target.do_nothing()),
        format!("{:?}", insert.returning(accounts::email.concat("s3cret"))),
        format!("{:?}", audited::delete(accounts::table.filter(email()))),
    ];
    for shown in all {
        assert!(!shown.contains("s3cret"), "{shown}");
    }
}

#[test]
fn load_iter_yields_the_rows_of_an_audited_statement() {
    use diesel::connection::DefaultLoadingMode;
    let (app, conn) = &mut app_with(&["ada", "bob"]);
    let update = audited::update(accounts::table).set(accounts::role.eq("admin"));
    let rows = update
        .load_iter::<Account, DefaultLoadingMode>(conn)
        .unwrap();
    let mut emails: Vec<_> = rows.map(|row| row.unwrap().email).collect();
    emails.sort();
    assert_eq!(emails, ["ada", "bob"]);
    assert_eq!(app.records().len(), 2);
}
