use std::panic::{AssertUnwindSafe, catch_unwind};

use audit_diesel::{AuditError, audited};
use audit_tests::app::{Account, NewAccount, accounts};
use diesel::prelude::*;
use diesel::result::DatabaseErrorKind::{CheckViolation, UniqueViolation};
use diesel::result::{DatabaseErrorKind, Error};

use super::super::plain_connection;
use super::{app_with, count, find, new_trail};

fn kind<T: std::fmt::Debug>(result: QueryResult<T>) -> DatabaseErrorKind {
    match result {
        Err(Error::DatabaseError(kind, _)) => kind,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_failing_statement_records_nothing() {
    let (app, conn) = &mut app_with(&["ada", "bob"]);
    let ada = || audited::insert_into(accounts::table).values(NewAccount::new("ada"));
    assert!(matches!(kind(ada().execute(conn)), UniqueViolation));
    assert!(matches!(
        kind(ada().get_result::<Account>(conn)),
        UniqueViolation
    ));
    let many = audited::insert_into(accounts::table)
        .values(vec![NewAccount::new("carl"), NewAccount::new("ada")]);
    assert!(matches!(kind(many.execute(conn)), UniqueViolation));
    let update = audited::update(accounts::table).set(accounts::email.eq("carl"));
    assert!(matches!(kind(update.execute(conn)), UniqueViolation));
    let update =
        audited::update(accounts::table.find(1)).set(accounts::balance.eq(accounts::balance - 11));
    assert!(matches!(
        kind(update.get_result::<Account>(conn)),
        CheckViolation
    ));
    assert!(app.records().is_empty());
    assert_eq!(count(conn), 2);
    assert_eq!(find(conn, 1).balance, 10);
}

#[test]
fn a_failing_statement_in_a_transaction_records_nothing() {
    let (app, conn) = &mut app_with(&["ada", "bob"]);
    conn.transaction(|conn| {
        let failed = conn.transaction(|conn| {
            audited::update(accounts::table)
                .set(accounts::email.eq("carl"))
                .execute(conn)
        });
        assert!(matches!(kind(failed), UniqueViolation));
        audited::update(accounts::table.find(1))
            .set(accounts::role.eq("admin"))
            .execute(conn)
    })
    .unwrap();
    assert_eq!(
        new_trail(app),
        [r#"update accounts 1 {"role":{"old":"member","new":"admin"}}"#]
    );
}

#[test]
fn without_an_auditor_nothing_is_written() {
    let (app, _) = &app_with(&["ada"]);
    let conn = &mut plain_connection(app);
    let ada = find(conn, 1);
    let results = [
        audited::insert_into(accounts::table)
            .values(NewAccount::new("bob"))
            .execute(conn),
        audited::insert_into(accounts::table)
            .values(NewAccount::new("bob"))
            .on_conflict_do_nothing()
            .execute(conn),
        audited::insert_into(accounts::table)
            .default_values()
            .execute(conn),
        audited::update(&ada)
            .set(accounts::role.eq("admin"))
            .execute(conn),
        audited::delete(&ada).execute(conn),
        audited::delete(&ada).get_result::<Account>(conn).map(|_| 1),
    ];
    for result in results {
        let error = result.unwrap_err();
        assert!(
            matches!(AuditError::of(&error), Some(AuditError::NoAuditor)),
            "{error:?}"
        );
    }
    assert_eq!(count(conn), 1);
    assert_eq!(find(conn, 1), ada);
    assert!(app.records().is_empty());
}

#[test]
fn every_kind_of_connection() {
    let (app, pooled) = &mut app_with(&["ada"]);
    let raw = &mut plain_connection(app);
    app.auditor.attach(raw);
    let set =
        |balance: i64| audited::update(accounts::table.find(1)).set(accounts::balance.eq(balance));
    assert_eq!(set(1).execute(raw), Ok(1));
    assert_eq!(set(2).execute(pooled), Ok(1));
    assert_eq!(set(3).execute(&mut **pooled), Ok(1));
    assert_eq!(set(4).get_result::<Account>(pooled).unwrap().balance, 4);
    assert_eq!(app.records().len(), 4);
}

/// Attached in the middle of a transaction, which the auditor did not see begin.
#[test]
fn attached_in_a_transaction() {
    let (app, _) = &app_with(&["ada"]);
    let conn = &mut plain_connection(app);
    conn.transaction(|conn| {
        app.auditor.attach(conn);
        audited::update(accounts::table.find(1))
            .set(accounts::balance.eq(1))
            .execute(conn)
    })
    .unwrap();
    assert_eq!(app.records().len(), 1);
}

/// The database made the change, so the record is there, whatever the caller made of it.
#[test]
fn a_row_that_the_caller_cannot_load() {
    let (app, conn) = &mut app_with(&["ada"]);
    let note = accounts::note.assume_not_null();
    let unloadable: [QueryResult<String>; 3] = [
        audited::insert_into(accounts::table)
            .values(NewAccount::new("bob"))
            .returning(note)
            .get_result(conn),
        audited::update(accounts::table.find(1))
            .set(accounts::role.eq("admin"))
            .returning(note)
            .get_result(conn),
        audited::delete(accounts::table.find(1))
            .returning(note)
            .get_result(conn),
    ];
    for result in unloadable {
        assert!(
            matches!(result, Err(Error::DeserializationError(_))),
            "{result:?}"
        );
    }
    let actions: Vec<_> = app.records().iter().map(|r| r.action.clone()).collect();
    assert_eq!(actions, ["insert", "update", "delete"]);
    assert_eq!(count(conn), 1);
}

#[derive(Debug)]
struct Panics;

impl<DB: diesel::backend::Backend> Queryable<diesel::sql_types::Text, DB> for Panics
where
    String: diesel::deserialize::FromSql<diesel::sql_types::Text, DB>,
{
    type Row = String;

    fn build(_: String) -> diesel::deserialize::Result<Self> {
        std::panic::resume_unwind(Box::new("a panic while a row is loaded"))
    }
}

#[derive(Debug, diesel::expression::AsExpression)]
#[diesel(sql_type = diesel::sql_types::Text)]
struct PanicsAsBind;

impl<DB: diesel::backend::Backend> diesel::serialize::ToSql<diesel::sql_types::Text, DB>
    for PanicsAsBind
{
    fn to_sql<'b>(
        &'b self,
        _: &mut diesel::serialize::Output<'b, '_, DB>,
    ) -> diesel::serialize::Result {
        std::panic::resume_unwind(Box::new("a panic while a value is sent"))
    }
}

/// What the user's types do is no concern of the trail's, and the connection goes on recording.
#[test]
fn panics_in_types_of_the_user() {
    let (app, _) = &mut app_with(&["ada"]);
    let conn = &mut plain_connection(app);
    app.auditor.attach(conn);
    let target = accounts::table.find(1);
    let panics = |conn: &mut super::Conn, run: &dyn Fn(&mut super::Conn)| {
        catch_unwind(AssertUnwindSafe(|| run(conn))).unwrap_err()
    };
    panics(conn, &|conn| {
        let update = audited::update(target).set(accounts::role.eq("loaded"));
        let _ = update.returning(accounts::role).get_result::<Panics>(conn);
    });
    assert_eq!(find(conn, 1).role, "loaded");
    assert_eq!(
        new_trail(app),
        [r#"update accounts 1 {"role":{"old":"member","new":"loaded"}}"#]
    );
    panics(conn, &|conn| {
        let update = audited::update(target).set(accounts::role.eq(PanicsAsBind));
        let _ = update.execute(conn);
    });
    assert!(app.records().is_empty());
    conn.transaction(|conn| {
        audited::update(target)
            .set(accounts::role.eq("admin"))
            .execute(conn)
    })
    .unwrap();
    assert_eq!(
        new_trail(app),
        [r#"update accounts 1 {"role":{"old":"loaded","new":"admin"}}"#]
    );
}
