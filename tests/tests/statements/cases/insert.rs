use audit_diesel::audited;
use audit_tests::app::{Account, NewAccount, accounts};
use diesel::prelude::*;
use diesel::result::QueryResult;

use super::super::super::models::{TABLES, audit_old};
use super::{app, app_with, count, new_trail, run};

/// The ids and addresses of the inserts in the trail.
fn inserted(app: &super::App) -> Vec<String> {
    let mut lines: Vec<_> = app.records().iter().map(id_and_email).collect();
    lines.sort();
    super::forget(app);
    lines
}

fn id_and_email(record: &audit_diesel::Record) -> String {
    assert_eq!(record.action, "insert");
    let changes = record.changes.as_ref().unwrap().to_value().unwrap();
    let id = record.resource_id.as_deref().unwrap();
    assert_eq!(changes["id"]["new"].to_string(), id);
    format!("{id} {}", changes["email"]["new"].as_str().unwrap())
}

#[test]
fn every_audited_field_is_recorded() {
    let (app, conn) = &mut app_with(&[]);
    let ada: Account = audited::insert_into(accounts::table)
        .values(NewAccount::new("ada"))
        .get_result(conn)
        .unwrap();
    assert_eq!(ada.email, "ada");
    assert_eq!(
        new_trail(app),
        [concat!(
            r#"insert accounts 1 {"id":{"new":1},"email":{"new":"ada"},"role":{"new":"member"},"#,
            r#""balance":{"new":0},"note":{"new":null},"api_token":{"redacted":true},"#,
            r#""updated_at":{"new":"2026-01-01T00:00:00"}}"#
        )]
    );
}

#[test]
fn one_row_in_every_form() {
    let (app, conn) = &mut app_with(&[]);
    let insert = || audited::insert_into(accounts::table);
    let counts: [QueryResult<usize>; 6] = [
        insert().values(NewAccount::new("struct")).execute(conn),
        insert().values(&NewAccount::new("reference")).execute(conn),
        insert().values(accounts::email.eq("column")).execute(conn),
        insert()
            .values((accounts::email.eq("tuple"), accounts::balance.eq(3)))
            .execute(conn),
        insert()
            .values(&(
                accounts::email.eq("tuple reference"),
                accounts::balance.eq(3),
            ))
            .execute(conn),
        insert()
            .values((NewAccount::new("nested"), accounts::role.eq("admin")))
            .execute(conn),
    ];
    assert_eq!(counts, [const { Ok(1) }; 6]);
    assert_eq!(
        inserted(app),
        [
            "1 struct",
            "2 reference",
            "3 column",
            "4 tuple",
            "5 tuple reference",
            "6 nested"
        ]
    );
}

#[test]
fn many_rows_in_every_form() {
    let (app, conn) = &mut app_with(&[]);
    let insert = || audited::insert_into(accounts::table);
    let new = |email| NewAccount::new(email);
    let vec = vec![new("c"), new("d")];
    let counts: [QueryResult<usize>; 8] = [
        insert().values(vec![new("a"), new("b")]).execute(conn),
        insert().values(&vec).execute(conn),
        insert().values(&[new("e"), new("f")][..]).execute(conn),
        insert().values([new("g"), new("h")]).execute(conn),
        insert().values(&[new("i"), new("j")]).execute(conn),
        insert()
            .values(Box::new([new("k"), new("l")]))
            .execute(conn),
        insert()
            .values(vec![accounts::email.eq("m"), accounts::email.eq("n")])
            .execute(conn),
        insert()
            .values(&vec![
                (accounts::email.eq("o"), accounts::balance.eq(1)),
                (accounts::email.eq("p"), accounts::balance.eq(1)),
            ])
            .execute(conn),
    ];
    assert_eq!(counts, [const { Ok(2) }; 8]);
    let emails: Vec<_> = inserted(app);
    assert_eq!(emails.len(), 16);
    let rows: Vec<(i32, String)> = accounts::table
        .select((accounts::id, accounts::email))
        .load(conn)
        .unwrap();
    let mut rows: Vec<_> = rows
        .iter()
        .map(|(id, email)| format!("{id} {email}"))
        .collect();
    rows.sort();
    assert_eq!(emails, rows);
}

#[test]
fn many_rows_are_returned() {
    let (app, conn) = &mut app_with(&[]);
    let rows: Vec<Account> = audited::insert_into(accounts::table)
        .values(vec![NewAccount::new("ada"), NewAccount::new("bob")])
        .get_results(conn)
        .unwrap();
    let emails: Vec<_> = rows.iter().map(|row| &row.email).collect();
    assert_eq!(emails, ["ada", "bob"]);
    assert_eq!(inserted(app), ["1 ada", "2 bob"]);
    // As with Diesel, the first row is returned and all are inserted.
    let carl: Account = audited::insert_into(accounts::table)
        .values([NewAccount::new("carl"), NewAccount::new("dora")])
        .get_result(conn)
        .unwrap();
    assert_eq!(carl.email, "carl");
    assert_eq!(inserted(app), ["3 carl", "4 dora"]);
}

#[test]
fn columns_that_may_be_left_to_the_database() {
    let (app, conn) = &mut app_with(&[]);
    let rows = vec![
        (accounts::email.eq("ada"), Some(accounts::balance.eq(3))),
        (accounts::email.eq("bob"), None),
    ];
    let count = audited::insert_into(accounts::table)
        .values(rows)
        .execute(conn);
    assert_eq!(count, Ok(2));
    assert_eq!(inserted(app), ["1 ada", "2 bob"]);
}

#[test]
fn no_rows() {
    let (app, conn) = &mut app_with(&[]);
    let none: Vec<NewAccount<'_>> = Vec::new();
    let insert = || audited::insert_into(accounts::table).values(&none);
    assert_eq!(insert().execute(conn), Ok(0));
    assert_eq!(insert().get_results::<Account>(conn), Ok(vec![]));
    assert_eq!(insert().get_result::<Account>(conn).optional(), Ok(None));
    assert_eq!(insert().on_conflict_do_nothing().execute(conn), Ok(0));
    // Rows that leave no column to the database take another way through Diesel.
    let mut none = vec![accounts::email.eq("x")];
    none.clear();
    let insert = || audited::insert_into(accounts::table).values(&none);
    assert_eq!(insert().get_results::<Account>(conn), Ok(vec![]));
    assert_eq!(insert().on_conflict_do_nothing().execute(conn), Ok(0));
    assert!(app.records().is_empty());
}

#[test]
fn from_a_select() {
    let (app, conn) = &mut app_with(&["ada", "bob"]);
    let some = accounts::table
        .filter(accounts::balance.gt(5))
        .select((accounts::email.concat("+"), accounts::balance));
    let count = audited::insert_into(accounts::table)
        .values(some)
        .into_columns((accounts::email, accounts::balance))
        .execute(conn);
    assert_eq!(count, Ok(2));
    assert_eq!(inserted(app), ["3 ada+", "4 bob+"]);

    let ids: Vec<i32> = audited::insert_into(accounts::table)
        .values(accounts::table.find(1).select(accounts::email.concat("++")))
        .into_columns(accounts::email)
        .returning(accounts::id)
        .get_results(conn)
        .unwrap();
    assert_eq!(ids, [5]);
    assert_eq!(inserted(app), ["5 ada++"]);
}

#[test]
fn from_a_select_of_whole_rows() {
    let (app, conn) = &mut app_with(&["ada"]);
    let whole = accounts::table.find(1).select((
        accounts::id + 100,
        accounts::email.concat("+"),
        accounts::role,
        accounts::balance,
        accounts::note,
        accounts::api_token,
        accounts::updated_at,
    ));
    let count = audited::insert_into(accounts::table)
        .values(whole)
        .execute(conn);
    assert_eq!(count, Ok(1));
    assert_eq!(inserted(app), ["101 ada+"]);
}

#[test]
fn from_a_select_with_conflicts() {
    let (app, conn) = &mut app_with(&["ada", "ada+", "bob"]);
    let all = accounts::table
        .filter(accounts::id.ne(2))
        .select(accounts::email.concat("+"));
    let count = audited::insert_into(accounts::table)
        .values(all)
        .into_columns(accounts::email)
        .on_conflict_do_nothing()
        .execute(conn);
    assert_eq!(count, Ok(1));
    let trail = new_trail(app);
    assert!(trail[0].contains(r#""email":{"new":"bob+"}"#), "{trail:?}");
    assert_eq!(trail.len(), 1);
}

#[test]
fn from_a_select_without_a_filter_with_conflicts() {
    let (app, conn) = &mut app_with(&["ada", "ada+"]);
    let count = audited::insert_into(accounts::table)
        .values(accounts::table.select((accounts::email.concat("+"), accounts::balance)))
        .into_columns((accounts::email, accounts::balance))
        .on_conflict(accounts::email)
        .do_nothing()
        .execute(conn);
    assert_eq!(count, Ok(1));
    assert_eq!(new_trail(app).len(), 1);
}

#[test]
fn skipped_rows_make_no_record() {
    let (app, conn) = &mut app_with(&["ada"]);
    let insert = |email| audited::insert_into(accounts::table).values(NewAccount::new(email));
    assert_eq!(insert("ada").on_conflict_do_nothing().execute(conn), Ok(0));
    let skipped: Option<Account> = insert("ada")
        .on_conflict_do_nothing()
        .get_result(conn)
        .optional()
        .unwrap();
    assert_eq!(skipped, None);
    let by_target = || insert("ada").on_conflict(accounts::email).do_nothing();
    assert_eq!(by_target().execute(conn), Ok(0));
    assert_eq!(by_target().get_results::<Account>(conn), Ok(vec![]));
    assert!(app.records().is_empty());

    let bob: String = insert("bob")
        .on_conflict(accounts::email)
        .do_nothing()
        .returning(accounts::email)
        .get_result(conn)
        .unwrap();
    assert_eq!(bob, "bob");
    let carl: String = insert("carl")
        .returning(accounts::email)
        .on_conflict_do_nothing()
        .get_result(conn)
        .unwrap();
    assert_eq!(carl, "carl");
    assert_eq!(app.records().len(), 2);
    assert_eq!(count(conn), 3);
}

#[test]
fn skipped_rows_among_many() {
    let (app, conn) = &mut app_with(&["bob"]);
    let new = |emails: [&'static str; 3]| emails.map(NewAccount::new).to_vec();
    let rows: Vec<Account> = audited::insert_into(accounts::table)
        .values(new(["ada", "bob", "carl"]))
        .on_conflict_do_nothing()
        .get_results(conn)
        .unwrap();
    let emails: Vec<_> = rows.iter().map(|row| &row.email).collect();
    assert_eq!(emails, ["ada", "carl"]);
    assert_eq!(inserted(app).len(), 2);

    let count = audited::insert_into(accounts::table)
        .values(&new(["bob", "dora", "dora"]))
        .on_conflict(accounts::email)
        .do_nothing()
        .execute(conn);
    assert_eq!(count, Ok(1));
    assert_eq!(inserted(app).len(), 1);

    let defaulted = [
        (accounts::email.eq("bob"), Some(accounts::balance.eq(3))),
        (accounts::email.eq("eve"), None),
    ];
    let count = audited::insert_into(accounts::table)
        .values(&defaulted[..])
        .on_conflict_do_nothing()
        .execute(conn);
    assert_eq!(count, Ok(1));
    assert_eq!(inserted(app).len(), 1);
}

/// A target in SQL is written as Diesel writes it.
#[test]
fn a_conflict_with_a_partial_index() {
    let (app, conn) = &mut app_with(&[]);
    let index = "CREATE UNIQUE INDEX one_owner ON accounts (role) WHERE role = 'owner'";
    run(conn, index);
    let target = "(role) WHERE role = 'owner'";
    let insert = |email: &'static str| {
        audited::insert_into(accounts::table)
            .values((accounts::email.eq(email), accounts::role.eq("owner")))
            .on_conflict(diesel::dsl::sql::<diesel::sql_types::Text>(target))
            .do_nothing()
    };
    assert_eq!(insert("ada").execute(conn), Ok(1));
    assert_eq!(insert("bob").execute(conn), Ok(0));
    assert_eq!(inserted(app).len(), 1);
}

/// As Diesel's, which writes the same SQL; a second condition is added.
#[test]
fn a_conflict_with_a_partial_index_by_filter_target() {
    use diesel::dsl::sql;
    use diesel::sql_types::Bool;
    let (app, conn) = &mut app_with(&[]);
    run(
        conn,
        "CREATE UNIQUE INDEX one_owner ON accounts (role) WHERE (role = 'owner') AND (note IS NULL)",
    );
    let insert_as = |role: &'static str, email: &'static str| {
        audited::insert_into(accounts::table)
            .values((accounts::email.eq(email), accounts::role.eq(role)))
            .on_conflict(accounts::role)
            .filter_target(sql::<Bool>("role = 'owner'"))
            .filter_target(accounts::note.is_null())
            .do_nothing()
    };
    assert_eq!(insert_as("owner", "ada").execute(conn), Ok(1));
    assert_eq!(insert_as("owner", "bob").execute(conn), Ok(0));
    assert_eq!(inserted(app).len(), 1);
    // Another constraint than the one that is named is an error, as ever.
    insert_as("member", "ada").execute(conn).unwrap_err();
    assert!(app.records().is_empty());
}

#[test]
fn from_a_table_as_it_is() {
    let (app, conn) = &mut app_with(&[]);
    run(conn, TABLES);
    run(
        conn,
        "INSERT INTO audit_old VALUES (41, 'ada'), (42, 'bob')",
    );
    let count = audited::insert_into(accounts::table)
        .values(audit_old::table)
        .into_columns((accounts::id, accounts::email))
        .execute(conn);
    assert_eq!(count, Ok(2));
    assert_eq!(inserted(app), ["41 ada", "42 bob"]);
}

#[test]
fn from_a_select_that_is_inserted() {
    use audit_diesel::AuditedInsertDsl;
    let (app, conn) = &mut app_with(&["ada"]);
    let count = accounts::table
        .select(accounts::email.concat("+"))
        .audited_insert_into(accounts::table)
        .into_columns(accounts::email)
        .execute(conn);
    assert_eq!(count, Ok(1));
    let id: i32 = NewAccount::new("bob")
        .audited_insert_into(accounts::table)
        .returning(accounts::id)
        .get_result(conn)
        .unwrap();
    assert_eq!(id, 3);
    assert_eq!(inserted(app), ["2 ada+", "3 bob"]);
}

/// A conflict with another constraint than the one that is named is an error, and then no row of
/// the statement stays.
#[test]
fn a_conflict_elsewhere_is_an_error() {
    let (app, conn) = &mut app_with(&["ada"]);
    let rows = vec![
        (accounts::id.eq(7), accounts::email.eq("bob")),
        (accounts::id.eq(1), accounts::email.eq("carl")),
    ];
    let error = audited::insert_into(accounts::table)
        .values(rows)
        .on_conflict(accounts::email)
        .do_nothing()
        .execute(conn)
        .unwrap_err();
    assert!(
        matches!(
            error,
            diesel::result::Error::DatabaseError(
                diesel::result::DatabaseErrorKind::UniqueViolation,
                _
            )
        ),
        "{error:?}"
    );
    assert_eq!(count(conn), 1);
    assert!(app.records().is_empty());
}

#[test]
fn default_values() {
    let app = app();
    let conn = &mut app.pool.get().unwrap();
    let insert = || audited::insert_into(accounts::table).default_values();
    assert_eq!(insert().execute(conn), Ok(1));
    assert_eq!(inserted(&app), ["1 nobody@example.com"]);
    run(conn, "UPDATE accounts SET email = 'ada'");
    let email: String = insert()
        .returning(accounts::email)
        .get_result(conn)
        .unwrap();
    assert_eq!(email, "nobody@example.com");
    assert_eq!(inserted(&app).len(), 1);
}
