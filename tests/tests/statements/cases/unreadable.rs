//! Rows with values that the model's types cannot read. The change is made by then: its record names
//! the row, and tells all that can be told of it.

use audit_diesel::audited;
use diesel::prelude::*;
use diesel::result::Error::DeserializationError;

use super::{app, new_trail, run, sorted_trail};
use crate::models::*;

#[test]
fn a_null_in_a_column_that_the_model_takes_for_not_null_is_recorded_as_null() {
    let app = app();
    let conn = &mut app.pool.get().unwrap();
    run(conn, TABLES);
    run(
        conn,
        "INSERT INTO misfits (id, name, other) VALUES (1, NULL, 1), (2, NULL, 2)",
    );
    let count = audited::insert_into(misfits::table)
        .values((misfits::id.eq(3), misfits::other.eq(3)))
        .execute(conn);
    assert_eq!(count, Ok(1));
    let count = audited::update(misfits::table.find(1))
        .set((misfits::other.eq(11), misfits::name.eq("a")))
        .execute(conn);
    assert_eq!(count, Ok(1));
    assert_eq!(audited::delete(misfits::table.find(2)).execute(conn), Ok(1));
    assert_eq!(
        new_trail(&app),
        [
            r#"insert misfits 3 {"id":{"new":3},"name":{"new":null},"other":{"new":3}}"#,
            r#"update misfits 1 {"name":{"old":null,"new":"a"},"other":{"old":1,"new":11}}"#,
            r#"delete misfits 2 {"id":{"old":2},"name":{"old":null},"other":{"old":2}}"#,
        ]
    );
}

#[test]
fn one_row_that_cannot_be_read_hides_no_other_and_the_caller_gets_diesels_error() {
    let app = app();
    let conn = &mut app.pool.get().unwrap();
    run(conn, TABLES);
    run(
        conn,
        "INSERT INTO misfits (id, name, other) VALUES (1, NULL, 1), (2, 'b', 2)",
    );
    let loaded = audited::update(misfits::table)
        .set(misfits::other.eq(misfits::other + 10))
        .get_results::<Misfit>(conn);
    assert!(matches!(loaded, Err(DeserializationError(_))), "{loaded:?}");
    assert_eq!(
        sorted_trail(&app),
        [
            r#"update misfits 1 {"other":{"old":1,"new":11}}"#,
            r#"update misfits 2 {"other":{"old":2,"new":12}}"#
        ]
    );
}
