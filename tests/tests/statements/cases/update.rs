use audit_diesel::{AuditedSaveChangesDsl, audited};
use audit_tests::app::{Account, accounts};
use chrono::NaiveDateTime;
use diesel::prelude::*;
use diesel::query_builder::AsChangeset;
use diesel::sql_types::{BigInt, Bool, Text};

use super::super::Backend;
use super::{app_with, find, new_trail, sorted_trail};

fn role_of(id: i32, old: &str, new: &str) -> String {
    format!(r#"update accounts {id} {{"role":{{"old":"{old}","new":"{new}"}}}}"#)
}

fn admins(ids: &[i32]) -> Vec<String> {
    ids.iter()
        .map(|id| role_of(*id, "member", "admin"))
        .collect()
}

#[test]
fn what_is_updated_in_every_form() {
    let target = accounts::table;
    let (app, conn) = &mut app_with(&["ada", "bob", "carl"]);
    let bob = find(conn, 2);
    let admin = accounts::role.eq("admin");

    assert_eq!(
        audited::update(target.find(1)).set(admin).execute(conn),
        Ok(1)
    );
    assert_eq!(new_trail(app), admins(&[1]));
    assert_eq!(audited::update(&bob).set(admin).execute(conn), Ok(1));
    assert_eq!(new_trail(app), admins(&[2]));
    let filtered = target.filter(accounts::email.like("c%"));
    assert_eq!(audited::update(filtered).set(admin).execute(conn), Ok(1));
    assert_eq!(new_trail(app), admins(&[3]));
    let member = accounts::role.eq("member");
    assert_eq!(audited::update(target).set(member).execute(conn), Ok(3));
    assert_eq!(
        sorted_trail(app),
        [1, 2, 3].map(|id| role_of(id, "admin", "member"))
    );
}

#[test]
fn filters_before_and_after_set() {
    let (app, conn) = &mut app_with(&["ada", "bob", "carl"]);
    let count = audited::update(accounts::table)
        .filter(accounts::id.gt(1))
        .filter(accounts::id.lt(3))
        .set(accounts::role.eq("admin"))
        .execute(conn);
    assert_eq!(count, Ok(1));
    assert_eq!(new_trail(app), admins(&[2]));

    let count = audited::update(accounts::table.filter(accounts::balance.eq(10)))
        .filter(accounts::id.ne(2))
        .set(accounts::role.eq("admin"))
        .filter(accounts::id.eq(1).or(accounts::id.eq(2)))
        .execute(conn);
    assert_eq!(count, Ok(1));
    assert_eq!(new_trail(app), admins(&[1]));

    let count = audited::update(
        accounts::table
            .filter(accounts::id.eq(1))
            .or_filter(accounts::id.eq(3)),
    )
    .set(accounts::role.eq("owner"))
    .filter(accounts::role.eq("member"))
    .execute(conn);
    assert_eq!(count, Ok(1));
    assert_eq!(new_trail(app), [role_of(3, "member", "owner")]);
}

#[test]
fn filters_on_null_lists_and_other_tables() {
    let (app, conn) = &mut app_with(&["ada", "bob", "carl"]);
    // Nullable predicates.
    let count = audited::update(accounts::table.filter(accounts::note.eq("x")))
        .set(accounts::role.eq("admin"))
        .execute(conn);
    assert_eq!(count, Ok(0));
    let count = audited::update(accounts::table)
        .set(accounts::role.eq("admin"))
        .filter(accounts::id.eq_any(vec![1, 2]))
        .filter(accounts::note.is_null())
        .execute(conn);
    assert_eq!(count, Ok(2));
    assert_eq!(sorted_trail(app), admins(&[1, 2]));
    let other = diesel::alias!(accounts as other);
    let richest = other.select(diesel::dsl::max(other.field(accounts::id)));
    let count = audited::update(accounts::table.filter(accounts::id.nullable().eq_any(richest)))
        .set(accounts::role.eq("admin"))
        .execute(conn);
    assert_eq!(count, Ok(1));
    assert_eq!(new_trail(app), admins(&[3]));
}

#[test]
fn boxed_filters() {
    let (app, conn) = &mut app_with(&["ada", "bob", "carl", "dora"]);
    let count = audited::update(accounts::table.filter(accounts::id.ne(1)))
        .into_boxed::<Backend>()
        .set(accounts::role.eq("admin"))
        .filter(accounts::id.lt(3))
        .execute(conn);
    assert_eq!(count, Ok(1));
    assert_eq!(new_trail(app), admins(&[2]));

    let mut update = audited::update(accounts::table)
        .set(accounts::role.eq("admin"))
        .into_boxed::<Backend>();
    for id in [2, 3, 4] {
        update = update.filter(accounts::id.ne(id));
    }
    assert_eq!(update.execute(conn), Ok(1));
    assert_eq!(new_trail(app), admins(&[1]));

    let mut update = audited::update(accounts::table.find(3)).into_boxed::<Backend>();
    if app.records().is_empty() {
        update = update.filter(accounts::balance.gt(0));
    }
    assert_eq!(update.set(accounts::role.eq("admin")).execute(conn), Ok(1));
    assert_eq!(new_trail(app), admins(&[3]));

    let count = audited::update(accounts::table)
        .into_boxed::<Backend>()
        .set(accounts::role.eq("owner"))
        .execute(conn);
    assert_eq!(count, Ok(4));
    assert_eq!(sorted_trail(app).len(), 4);
}

/// The fields stand in the model's order, not in that of the SET.
#[test]
fn tuples_and_expressions() {
    let (app, conn) = &mut app_with(&["ada"]);
    let count = audited::update(accounts::table.find(1))
        .set((
            accounts::balance.eq(accounts::balance + 5),
            accounts::role.eq("admin"),
            accounts::note.eq(Some("hello")),
            accounts::api_token.eq("another"),
        ))
        .execute(conn);
    assert_eq!(count, Ok(1));
    assert_eq!(
        new_trail(app),
        [concat!(
            r#"update accounts 1 {"role":{"old":"member","new":"admin"},"#,
            r#""balance":{"old":10,"new":15},"note":{"old":null,"new":"hello"},"#,
            r#""api_token":{"redacted":true}}"#
        )]
    );
    let other = diesel::alias!(accounts as other);
    let sum = other.select(diesel::dsl::max(other.field(accounts::balance)).assume_not_null());
    let count = audited::update(accounts::table.find(1))
        .set(accounts::balance.eq(sum.single_value().assume_not_null() + 1))
        .execute(conn);
    assert_eq!(count, Ok(1));
    assert_eq!(
        new_trail(app),
        [r#"update accounts 1 {"balance":{"old":15,"new":16}}"#]
    );
}

/// SQL that the user wrote names columns without their table.
#[test]
fn expressions_in_plain_sql() {
    let (app, conn) = &mut app_with(&["ada", "bob"]);
    let balance: i64 = audited::update(accounts::table.filter(diesel::dsl::sql::<Bool>("id = 1")))
        .set(accounts::balance.eq(diesel::dsl::sql::<BigInt>("balance * 3")))
        .returning(diesel::dsl::sql::<BigInt>("balance + id"))
        .get_result(conn)
        .unwrap();
    assert_eq!(balance, 31);
    assert_eq!(
        new_trail(app),
        [r#"update accounts 1 {"balance":{"old":10,"new":30}}"#]
    );
}

#[derive(Default, AsChangeset, Identifiable)]
#[diesel(table_name = accounts)]
struct Changes<'a> {
    id: i32,
    role: Option<&'a str>,
    balance: Option<i64>,
    note: Option<Option<&'a str>>,
}

#[derive(AsChangeset)]
#[diesel(table_name = accounts, treat_none_as_null = true)]
struct Note {
    note: Option<String>,
}

#[test]
fn changeset_structs() {
    let (app, conn) = &mut app_with(&["ada"]);
    let target = accounts::table.find(1);
    let some = Changes {
        id: 1,
        note: Some(Some("n")),
        balance: Some(10),
        ..Default::default()
    };
    assert_eq!(audited::update(target).set(&some).execute(conn), Ok(1));
    assert_eq!(
        new_trail(app),
        [r#"update accounts 1 {"note":{"old":null,"new":"n"}}"#]
    );
    let cleared = Changes {
        id: 1,
        note: Some(None),
        role: Some("admin"),
        ..Default::default()
    };
    assert_eq!(audited::update(target).set(cleared).execute(conn), Ok(1));
    let both = [
        r#"update accounts 1 {"role":{"old":"member","new":"admin"},"note":{"old":"n","new":null}}"#,
    ];
    assert_eq!(new_trail(app), both);

    let note = |text: Option<&str>| Note {
        note: text.map(str::to_owned),
    };
    assert_eq!(
        audited::update(target).set(note(Some("m"))).execute(conn),
        Ok(1)
    );
    assert_eq!(
        audited::update(target).set(&note(None)).execute(conn),
        Ok(1)
    );
    assert_eq!(
        new_trail(app),
        [
            r#"update accounts 1 {"note":{"old":null,"new":"m"}}"#,
            r#"update accounts 1 {"note":{"old":"m","new":null}}"#
        ]
    );
    let two = (some, accounts::email.eq("eve"));
    assert_eq!(audited::update(target).set(two).execute(conn), Ok(1));
    assert_eq!(
        new_trail(app),
        [r#"update accounts 1 {"email":{"old":"ada","new":"eve"},"note":{"old":null,"new":"n"}}"#]
    );
}

#[test]
fn an_empty_changeset_is_diesels_error() {
    let (app, conn) = &mut app_with(&["ada"]);
    let nothing = Changes {
        id: 1,
        ..Default::default()
    };
    let ours = audited::update(accounts::table.find(1))
        .set(&nothing)
        .execute(conn)
        .unwrap_err();
    let diesels = diesel::update(accounts::table.find(1))
        .set(&nothing)
        .execute(conn)
        .unwrap_err();
    assert!(ours.is_empty_changeset_like(&diesels), "{ours:?}");
    let ours = audited::update(&find(conn, 1))
        .set(&nothing)
        .get_result::<Account>(conn)
        .optional_empty_changeset();
    assert_eq!(ours, Ok(None));
    assert!(app.records().is_empty());
    // The connection is as good as before.
    assert_eq!(
        audited::update(accounts::table.find(1))
            .set(accounts::role.eq("admin"))
            .execute(conn),
        Ok(1)
    );
}

trait Like {
    fn is_empty_changeset_like(&self, other: &Self) -> bool;
}

impl Like for diesel::result::Error {
    fn is_empty_changeset_like(&self, other: &Self) -> bool {
        use diesel::result::{EmptyChangeset, Error::QueryBuilderError};
        match (self, other) {
            (QueryBuilderError(a), QueryBuilderError(b)) => {
                a.is::<EmptyChangeset>() && b.is::<EmptyChangeset>()
            }
            _ => false,
        }
    }
}

#[test]
fn save_changes() {
    let (app, conn) = &mut app_with(&["ada"]);
    let mut ada = find(conn, 1);
    ada.role = "admin".to_owned();
    let saved: Account = ada.audited_save_changes(conn).unwrap();
    assert_eq!(saved, ada);
    assert_eq!(new_trail(app), admins(&[1]));
    let same = ada.audited_save_changes::<Account>(conn).unwrap();
    assert_eq!(same, ada);
    assert!(app.records().is_empty());
    let changes = Changes {
        id: 1,
        balance: Some(11),
        ..Default::default()
    };
    let saved: Account = changes.audited_save_changes(conn).unwrap();
    assert_eq!(saved.balance, 11);
    assert_eq!(app.records().len(), 1);
    ada.id = 99;
    let missing = ada.audited_save_changes::<Account>(conn);
    assert_eq!(missing, Err(diesel::NotFound));
}

#[test]
fn no_change_makes_no_record() {
    let (app, conn) = &mut app_with(&["ada", "bob"]);
    fn update<C>(conn: &mut super::Conn, changes: C) -> QueryResult<usize>
    where
        C: AsChangeset<Target = accounts::table>,
        C::Changeset: diesel::query_builder::QueryFragment<Backend>,
    {
        audited::update(accounts::table).set(changes).execute(conn)
    }
    assert_eq!(update(conn, accounts::role.eq("member")), Ok(2));
    assert_eq!(update(conn, accounts::api_token.eq("default-token")), Ok(2));
    let later: NaiveDateTime = "2026-02-02T00:00:00".parse().unwrap();
    assert_eq!(update(conn, accounts::updated_at.eq(later)), Ok(2));
    assert!(app.records().is_empty());
    // Of two rows, the one that changed.
    let count = update(conn, accounts::email.eq(accounts::email)).unwrap();
    assert_eq!(count, 2);
    let emails = diesel::dsl::case_when(accounts::id.eq(1), "eve".into_sql::<Text>())
        .otherwise(accounts::email);
    assert_eq!(update(conn, accounts::email.eq(emails)), Ok(2));
    assert_eq!(
        new_trail(app),
        [r#"update accounts 1 {"email":{"old":"ada","new":"eve"}}"#]
    );
}

#[test]
fn a_changed_key() {
    let (app, conn) = &mut app_with(&["ada", "bob"]);
    let ada: Account = audited::update(accounts::table.find(1))
        .set((accounts::id.eq(70), accounts::role.eq("admin")))
        .get_result(conn)
        .unwrap();
    assert_eq!((ada.id, ada.role.as_str()), (70, "admin"));
    assert_eq!(
        new_trail(app),
        [r#"update accounts 1 {"id":{"old":1,"new":70},"role":{"old":"member","new":"admin"}}"#]
    );
    let nobody = audited::update(accounts::table.find(1))
        .set(accounts::id.eq(71))
        .get_result::<Account>(conn);
    assert_eq!(nobody, Err(diesel::NotFound));
    assert!(app.records().is_empty());
}
