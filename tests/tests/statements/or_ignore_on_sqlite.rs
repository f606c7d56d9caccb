//! `audited::insert_or_ignore_into`, beside `diesel::insert_or_ignore_into` on the same rows.

use audit_diesel::audited;
use audit_tests::app::{Account, accounts};
use diesel::connection::SimpleConnection;
use diesel::debug_query;
use diesel::prelude::*;

use super::{App, Backend, Conn, app};

/// The application with one account, and a way to compare what is in its tables.
fn two_apps() -> (App, App) {
    let one = || {
        let app = app();
        let conn = &mut app.pool.get().unwrap();
        conn.batch_execute("INSERT INTO accounts (email) VALUES ('ada')")
            .unwrap();
        app
    };
    (one(), one())
}

fn rows(conn: &mut Conn) -> Vec<Account> {
    accounts::table.order(accounts::id).load(conn).unwrap()
}

/// Runs both forms of the insert, and compares counts, rows and the trail with what Diesel did.
macro_rules! as_diesels {
    ($insert:ident => $statement:expr) => {{
        let (plain, audited_app) = two_apps();
        let plain_conn = &mut plain.pool.get().unwrap();
        let conn = &mut audited_app.pool.get().unwrap();
        let expected = {
            let $insert = || diesel::insert_or_ignore_into(accounts::table);
            $statement.execute(plain_conn)
        };
        let count = {
            let $insert = || audited::insert_or_ignore_into(accounts::table);
            $statement.execute(conn)
        };
        assert_eq!(count, expected);
        assert_eq!(rows(conn), rows(plain_conn));
        assert_eq!(audited_app.records().len(), count.unwrap());
        let inserted = rows(conn).len() - 1;
        assert_eq!(audited_app.records().len(), inserted);
    }};
}

#[test]
fn rows_that_violate_any_constraint_are_skipped_as_by_diesel() {
    let email = |email| accounts::email.eq(email);
    as_diesels!(insert => insert().values(email("ada")));
    as_diesels!(insert => insert().values(email("bob")));
    as_diesels!(insert => insert().values(vec![email("bob"), email("ada"), email("bob"), email("carl")]));
    // CHECK (balance >= 0)
    let balance = |it: i64| accounts::balance.eq(it);
    as_diesels!(insert => insert().values((email("bob"), balance(-1))));
    as_diesels!(insert => insert().values(vec![
        (email("bob"), balance(-1)), (email("carl"), balance(1)), (email("ada"), balance(2)),
    ]));
    // Some rows leave a column to the database, so Diesel inserts them one by one.
    as_diesels!(insert => insert().values(vec![
        (email("bob"), Some(balance(-1))), (email("carl"), None), (email("ada"), None),
    ]));
    // NOT NULL
    let nobody = diesel::dsl::sql::<diesel::sql_types::Text>("NULL");
    as_diesels!(insert => insert().values(accounts::email.eq(nobody.clone())));
    as_diesels!(insert => insert().values((accounts::role.eq(nobody.clone()), email("bob"))));
    as_diesels!(insert => insert().default_values());
    let copies = accounts::table.select((accounts::email.concat("+"), accounts::balance - 1));
    as_diesels!(insert => insert().values(copies).into_columns((accounts::email, accounts::balance)));
    let whole = accounts::table;
    as_diesels!(insert => insert().values(whole));
}

/// Diesel counts what the statement before has changed.
#[test]
fn an_insert_or_ignore_of_nothing_inserts_nothing() {
    let (_, app) = two_apps();
    let conn = &mut app.pool.get().unwrap();
    let mut none = vec![accounts::email.eq("x")];
    none.clear();
    let insert = audited::insert_or_ignore_into(accounts::table).values(&none);
    assert_eq!(insert.execute(conn), Ok(0));
    assert!(app.records().is_empty());
}

#[test]
fn what_was_inserted_is_returned_and_recorded_and_nothing_else() {
    let (_, app) = two_apps();
    let conn = &mut app.pool.get().unwrap();
    let emails: Vec<String> = audited::insert_or_ignore_into(accounts::table)
        .values(vec![
            (accounts::email.eq("ada"), None),
            (accounts::email.eq("bob"), Some(accounts::balance.eq(3))),
        ])
        .returning(accounts::email)
        .get_results(conn)
        .unwrap();
    assert_eq!(emails, ["bob"]);
    let records = app.records();
    assert_eq!(records.len(), 1);
    assert_eq!(records[0].action, "insert");
    let none: Option<Account> = audited::insert_or_ignore_into(accounts::table)
        .values(accounts::email.eq("ada"))
        .get_result(conn)
        .optional()
        .unwrap();
    assert_eq!(none, None);
    assert_eq!(app.records().len(), 1);
}

#[test]
fn debug_query_shows_an_insert_or_ignore() {
    let insert = audited::insert_or_ignore_into(accounts::table).values(vec![
        (accounts::email.eq("s3cret"), None),
        (accounts::email.eq("bob"), Some(accounts::balance.eq(3))),
    ]);
    let shown = debug_query::<Backend, _>(&insert).to_string();
    let returned =
        "RETURNING `id`, `email`, `role`, `balance`, `note`, `api_token`, `updated_at`, 0, 0";
    let columns = "INSERT OR IGNORE INTO `accounts` (`email`";
    assert_eq!(
        shown.replace("accounts`.`", ""),
        format!(
            "{columns}) VALUES (?) {returned}; {columns}, `balance`) VALUES (?, ?) {returned} -- binds: []"
        )
    );
}
