use audit_diesel::audited;
use audit_tests::app::{Account, NewAccount, accounts};
use diesel::dsl::sql;
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Integer, Text};

use super::app_with;

#[derive(Debug, PartialEq, Queryable, Selectable)]
#[diesel(table_name = accounts)]
struct Short {
    role: String,
    id: i32,
}

#[derive(Debug, PartialEq, Queryable, Selectable)]
#[diesel(table_name = accounts)]
struct Nested {
    balance: i64,
    #[diesel(embed)]
    short: Short,
}

/// What every kind of statement can return.
macro_rules! returns {
    ($conn:expr, $statement:expr, balance = $balance:expr) => {{
        let conn = &mut *$conn;
        let id: i32 = $statement.returning(accounts::id).get_result(conn).unwrap();
        let pair: (i32, String) = $statement
            .returning((accounts::id, accounts::role))
            .get_result(conn)
            .unwrap();
        assert_eq!(pair, (id, "member".to_owned()));
        let twice: i64 = $statement
            .returning(accounts::balance * 2)
            .get_result(conn)
            .unwrap();
        assert_eq!(twice, $balance * 2);
        let literals: (String, i32, Option<String>) = $statement
            .returning(("x".into_sql::<Text>(), sql::<Integer>("7"), accounts::note))
            .get_result(conn)
            .unwrap();
        assert_eq!(literals, ("x".to_owned(), 7, None));
        let plain_sql: i64 = $statement
            .returning(sql::<BigInt>("balance"))
            .get_result(conn)
            .unwrap();
        assert_eq!(plain_sql, $balance);
        let model = $statement
            .returning(Account::as_returning())
            .get_result(conn)
            .unwrap();
        assert_eq!((model.id, model.balance), (id, $balance));
        let short: Vec<Short> = $statement
            .returning(Short::as_select())
            .get_results(conn)
            .unwrap();
        assert_eq!(
            short,
            [Short {
                role: "member".to_owned(),
                id
            }]
        );
        let nested: (Nested, i32) = $statement
            .returning((Nested::as_returning(), accounts::id))
            .get_result(conn)
            .unwrap();
        assert_eq!(nested.0.short, short[0]);
        let whole = $statement.get_result::<Account>(conn).unwrap();
        assert_eq!(whole.id, id);
        let tuple: Vec<(
            i32,
            String,
            String,
            i64,
            Option<String>,
            String,
            chrono::NaiveDateTime,
        )> = $statement.load(conn).unwrap();
        assert_eq!(tuple[0].0, id);
        assert_eq!($statement.returning(accounts::id).execute(conn), Ok(1));
        let many = $statement
            .returning(accounts::all_columns)
            .load_iter::<Account, diesel::connection::DefaultLoadingMode>(conn)
            .unwrap()
            .collect::<QueryResult<Vec<_>>>()
            .unwrap();
        assert_eq!(many, [whole]);
    }};
}

#[test]
fn an_update_returns_what_is_asked_for() {
    let (app, conn) = &mut app_with(&["ada", "bob"]);
    let update = || audited::update(accounts::table.find(2)).set(accounts::balance.eq(30));
    returns!(conn, update(), balance = 30);
    assert_eq!(
        app.trail(),
        [r#"update accounts 2 {"balance":{"old":10,"new":30}}"#]
    );
}

/// Each time the same row is inserted anew.
#[test]
fn an_insert_returns_what_is_asked_for() {
    let (app, conn) = &mut app_with(&[]);
    run_trigger(conn);
    let insert = || {
        audited::insert_into(accounts::table).values((
            NewAccount::new("ada"),
            accounts::id.eq(5),
            accounts::balance.eq(30),
        ))
    };
    returns!(conn, insert(), balance = 30);
    assert_eq!(app.records().len(), 12);
}

#[test]
fn an_insert_of_defaults_or_without_conflicts_returns_what_is_asked_for() {
    let (app, conn) = &mut app_with(&[]);
    run_trigger(conn);
    let insert = || {
        audited::insert_into(accounts::table)
            .values((accounts::id.eq(5), accounts::balance.eq(30)))
            .on_conflict_do_nothing()
    };
    returns!(conn, insert(), balance = 30);
    assert_eq!(app.records().len(), 12);
}

/// Makes room for the row that is inserted again and again.
fn run_trigger(conn: &mut super::Conn) {
    super::run(conn, super::super::DELETE_BEFORE_INSERT);
}

#[test]
fn a_delete_returns_what_is_asked_for() {
    let emails: Vec<String> = (1..=12).map(|n| format!("{n}")).collect();
    let emails: Vec<&str> = emails.iter().map(String::as_str).collect();
    let (app, conn) = &mut app_with(&emails);
    let delete = |id: i32| audited::delete(accounts::table.find(id));
    let id: i32 = delete(1).returning(accounts::id).get_result(conn).unwrap();
    assert_eq!(id, 1);
    let twice: (i64, String) = delete(2)
        .returning((accounts::balance * 2, accounts::email))
        .get_result(conn)
        .unwrap();
    assert_eq!(twice, (20, "2".to_owned()));
    let model = delete(3)
        .returning(Account::as_returning())
        .get_result(conn)
        .unwrap();
    assert_eq!(model.id, 3);
    let plain: i64 = delete(4)
        .returning(sql::<BigInt>("balance + 1"))
        .get_result(conn)
        .unwrap();
    assert_eq!(plain, 11);
    assert_eq!(delete(5).returning(accounts::id).execute(conn), Ok(1));
    assert_eq!(delete(6).get_result::<Account>(conn).unwrap().id, 6);
    assert_eq!(app.records().len(), 6);
}

#[test]
fn many_rows_and_none() {
    let (app, conn) = &mut app_with(&["ada", "bob", "carl"]);
    let mut emails: Vec<String> = audited::update(accounts::table.filter(accounts::id.le(2)))
        .set(accounts::balance.eq(accounts::balance + 1))
        .returning(accounts::email)
        .load(conn)
        .unwrap();
    emails.sort();
    assert_eq!(emails, ["ada", "bob"]);
    assert_eq!(app.records().len(), 2);
    super::forget(app);
    let none = accounts::table.find(99);
    let update = || audited::update(none).set(accounts::balance.eq(1));
    assert_eq!(update().get_result::<Account>(conn), Err(diesel::NotFound));
    assert_eq!(update().get_result::<Account>(conn).optional(), Ok(None));
    assert_eq!(update().get_results::<Account>(conn), Ok(vec![]));
    assert_eq!(update().execute(conn), Ok(0));
    let gone = audited::delete(none).get_result::<Account>(conn);
    assert_eq!(gone, Err(diesel::NotFound));
    assert!(app.records().is_empty());
}
