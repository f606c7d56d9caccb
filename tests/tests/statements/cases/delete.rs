use audit_diesel::audited;
use audit_tests::app::{Account, accounts};
use diesel::prelude::*;

use super::super::Backend;
use super::{app_with, count, find, new_trail};

/// The ids of the deletes in the trail.
fn deleted(app: &super::App) -> Vec<i32> {
    let records = app.records();
    super::forget(app);
    let mut ids: Vec<i32> = records
        .iter()
        .map(|record| {
            assert_eq!(record.action, "delete");
            record.resource_id.as_deref().unwrap().parse().unwrap()
        })
        .collect();
    ids.sort_unstable();
    ids
}

#[test]
fn every_audited_field_is_recorded() {
    let (app, conn) = &mut app_with(&["ada"]);
    assert_eq!(
        audited::delete(accounts::table.find(1)).execute(conn),
        Ok(1)
    );
    assert_eq!(
        new_trail(app),
        [concat!(
            r#"delete accounts 1 {"id":{"old":1},"email":{"old":"ada"},"role":{"old":"member"},"#,
            r#""balance":{"old":10},"note":{"old":null},"api_token":{"redacted":true},"#,
            r#""updated_at":{"old":"2026-01-01T00:00:00"}}"#
        )]
    );
}

#[test]
fn what_is_deleted_in_every_form() {
    let (app, conn) = &mut app_with(&["a", "b", "c", "d", "e", "f", "g", "h", "i"]);
    assert_eq!(
        audited::delete(accounts::table.find(99)).execute(conn),
        Ok(0)
    );
    assert!(deleted(app).is_empty());
    let second = find(conn, 2);
    assert_eq!(audited::delete(&second).execute(conn), Ok(1));
    assert_eq!(deleted(app), [2]);
    let filtered = accounts::table.filter(accounts::email.eq("c"));
    assert_eq!(audited::delete(filtered).execute(conn), Ok(1));
    assert_eq!(deleted(app), [3]);
    let by_or = audited::delete(accounts::table)
        .filter(accounts::id.eq(4))
        .or_filter(accounts::id.eq(5));
    assert_eq!(by_or.execute(conn), Ok(2));
    assert_eq!(deleted(app), [4, 5]);
    let by_or = audited::delete(accounts::table.filter(accounts::id.eq(1)))
        .or_filter(accounts::id.eq(6))
        .filter(accounts::email.eq("f"));
    assert_eq!(by_or.execute(conn), Ok(1));
    assert_eq!(deleted(app), [6]);
    let mut boxed = audited::delete(accounts::table).into_boxed::<Backend>();
    for id in [1, 8] {
        boxed = boxed.filter(accounts::id.ne(id));
    }
    assert_eq!(boxed.or_filter(accounts::id.eq(1)).execute(conn), Ok(3));
    assert_eq!(deleted(app), [1, 7, 9]);
    assert_eq!(
        audited::delete(accounts::table)
            .into_boxed::<Backend>()
            .execute(conn),
        Ok(1)
    );
    assert_eq!(deleted(app), [8]);
}

#[test]
fn the_whole_table() {
    let (app, conn) = &mut app_with(&["a", "b", "c"]);
    let mut gone: Vec<Account> = audited::delete(accounts::table).get_results(conn).unwrap();
    gone.sort_by_key(|row| row.id);
    let emails: Vec<_> = gone.iter().map(|row| &row.email).collect();
    assert_eq!(emails, ["a", "b", "c"]);
    assert_eq!(deleted(app), [1, 2, 3]);
    assert_eq!(count(conn), 0);
}
