use audit_diesel::audited;
use diesel::prelude::*;

use super::{app, new_trail, run};
use crate::models::*;

#[test]
fn a_composite_key() {
    let app = app();
    let conn = &mut app.pool.get().unwrap();
    run(conn, TABLES);
    let new = |member| Membership {
        org: "acme".to_owned(),
        member,
        role: "member".to_owned(),
    };
    let count = audited::insert_into(memberships::table)
        .values(vec![new(1), new(2)])
        .execute(conn);
    assert_eq!(count, Ok(2));
    new_trail(&app);
    let count = audited::update(memberships::table.filter(memberships::org.eq("acme")))
        .set(memberships::role.eq(memberships::role.concat("!")))
        .execute(conn);
    assert_eq!(count, Ok(2));
    let mut trail = new_trail(&app);
    trail.sort();
    assert_eq!(
        trail,
        [
            r#"update memberships ["acme",1] {"role":{"old":"member","new":"member!"}}"#,
            r#"update memberships ["acme",2] {"role":{"old":"member","new":"member!"}}"#,
        ]
    );
    let count = audited::update(&new(1))
        .set(memberships::org.eq("initech"))
        .execute(conn);
    assert_eq!(count, Ok(1));
    assert_eq!(
        new_trail(&app),
        [r#"update memberships ["acme",1] {"org":{"old":"acme","new":"initech"}}"#]
    );
    let gone: Membership = audited::delete(memberships::table.find(("initech", 1)))
        .get_result(conn)
        .unwrap();
    assert_eq!(gone.role, "member!");
    assert!(new_trail(&app)[0].starts_with(r#"delete memberships ["initech",1] {"#));
}

#[test]
fn names_that_need_quotes() {
    let app = app();
    let conn = &mut app.pool.get().unwrap();
    run(conn, TABLES);
    let order = Order {
        id: 1,
        r#type: "a".to_owned(),
        quoted: "q".to_owned(),
    };
    let insert = || audited::insert_into(orders::table).values(&order);
    assert_eq!(insert().execute(conn), Ok(1));
    assert_eq!(
        insert().on_conflict(orders::id).do_nothing().execute(conn),
        Ok(0)
    );
    let count = audited::insert_into(orders::table)
        .values(orders::table.select((orders::id + 1, orders::kind, orders::quoted)))
        .into_columns((orders::id, orders::kind, orders::quoted))
        .execute(conn);
    assert_eq!(count, Ok(1));
    let updated: Order = audited::update(&order)
        .set((orders::kind.eq("b"), orders::quoted.eq("r")))
        .get_result(conn)
        .unwrap();
    assert_eq!(updated.r#type, "b");
    assert_eq!(audited::delete(orders::table.find(2)).execute(conn), Ok(1));
    assert_eq!(
        new_trail(&app),
        [
            r#"insert order 1 {"id":{"new":1},"type":{"new":"a"},"a \" b":{"new":"q"}}"#,
            r#"insert order 2 {"id":{"new":2},"type":{"new":"a"},"a \" b":{"new":"q"}}"#,
            r#"update order 1 {"type":{"old":"a","new":"b"},"a \" b":{"old":"q","new":"r"}}"#,
            r#"delete order 2 {"id":{"old":2},"type":{"old":"a"},"a \" b":{"old":"q"}}"#,
        ]
    );
}

/// A table may be called as an update calls its old rows.
#[test]
fn a_table_called_audit_old() {
    let app = app();
    let conn = &mut app.pool.get().unwrap();
    run(conn, TABLES);
    let row = AuditOld {
        id: 1,
        old: "a".to_owned(),
    };
    let count = audited::insert_into(audit_old::table)
        .values(&row)
        .execute(conn);
    assert_eq!(count, Ok(1));
    new_trail(&app);
    let count = audited::update(audit_old::table.find(1))
        .set(audit_old::old.eq("b"))
        .execute(conn);
    assert_eq!(count, Ok(1));
    assert_eq!(
        new_trail(&app),
        [r#"update audit_old 1 {"old":{"old":"a","new":"b"}}"#]
    );
}
