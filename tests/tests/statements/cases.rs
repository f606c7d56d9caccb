use audit_diesel::audited;
use audit_tests::app::{Account, NewAccount, accounts};
use diesel::prelude::*;

use super::app;

#[test]
fn insert_records_every_audited_field() {
    let app = app();
    let conn = &mut app.pool.get().unwrap();
    let ada: Account = audited::insert_into(accounts::table)
        .values(NewAccount::new("ada"))
        .get_result(conn)
        .unwrap();
    assert_eq!(ada.email, "ada");
    assert_eq!(
        app.trail(),
        [concat!(
            r#"insert accounts 1 {"id":{"new":1},"email":{"new":"ada"},"role":{"new":"member"},"#,
            r#""balance":{"new":0},"note":{"new":null},"api_token":{"redacted":true},"#,
            r#""updated_at":{"new":"2026-01-01T00:00:00"}}"#
        )]
    );
}
