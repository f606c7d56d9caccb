use std::collections::HashSet;
use std::panic::{AssertUnwindSafe, catch_unwind};

use audit_diesel::audited;
use audit_tests::app::{NewAccount, accounts};
use diesel::prelude::*;
use diesel::result::Error;

use super::app;
use crate::support::{NO, add, assert_kept};

#[test]
fn records_leave_at_commit_and_not_before() {
    let app = app();
    let conn = &mut app.pool.get().unwrap();
    conn.transaction::<_, Error, _>(|conn| {
        add!(conn, "ada");
        assert_eq!(app.records(), []);
        assert_eq!(app.auditor.pending(conn).unwrap().len(), 1);
        Ok(())
    })
    .unwrap();
    assert_kept!(app, conn, ["ada"]);
    assert_eq!(app.auditor.stats().published, 1);
}

#[test]
fn an_error_takes_the_records_back() {
    let app = app();
    let conn = &mut app.pool.get().unwrap();
    let result: Result<(), _> = conn.transaction(|conn| {
        add!(conn, "ada");
        Err(NO)
    });
    assert_eq!(result, Err(NO));
    add!(conn, "later");
    assert_kept!(app, conn, ["later"]);
    assert_eq!(app.auditor.stats().discarded, 1);
}

/// Three levels, each of which may be rolled back.
#[test]
fn every_combination_of_nested_ends() {
    let app = app();
    let conn = &mut app.pool.get().unwrap();
    let mut expected = Vec::new();
    for fate in 0..8u32 {
        let fails = |level: u32| fate & (1 << level) != 0;
        let end = move |level| if fails(level) { Err(NO) } else { Ok(()) };
        let name = |place: &str| format!("{place} of {fate}");
        let _ = conn.transaction::<(), Error, _>(|conn| {
            add!(conn, &name("outer"));
            let _ = conn.transaction::<(), Error, _>(|conn| {
                add!(conn, &name("middle"));
                let _ = conn.transaction::<(), Error, _>(|conn| {
                    add!(conn, &name("inner"));
                    end(2)
                });
                add!(conn, &name("after inner"));
                end(1)
            });
            // The savepoint's name is used a second time.
            let _ = conn.transaction::<(), Error, _>(|conn| {
                add!(conn, &name("second"));
                end(2)
            });
            end(0)
        });
        let kept = [
            ("outer", !fails(0)),
            ("middle", !fails(0) && !fails(1)),
            ("inner", fate == 0),
            ("after inner", !fails(0) && !fails(1)),
            ("second", !fails(0) && !fails(2)),
        ];
        expected.extend(kept.iter().filter(|k| k.1).map(|k| name(k.0)));
    }
    let expected: Vec<_> = expected.iter().map(String::as_str).collect();
    assert_kept!(app, conn, expected);
}

#[test]
fn records_of_a_transaction_carry_its_id_and_their_order_without_gaps() {
    let app = app();
    let conn = &mut app.pool.get().unwrap();
    for round in ["a", "b"] {
        conn.transaction::<_, Error, _>(|conn| {
            add!(conn, &format!("{round} 0"));
            let _: Result<(), Error> = conn.transaction(|conn| {
                add!(conn, &format!("{round} gone"));
                Err(NO)
            });
            add!(conn, &format!("{round} 1"));
            add!(conn, &format!("{round} 2"));
            Ok(())
        })
        .unwrap();
    }
    add!(conn, "alone");
    let refs: Vec<_> = app
        .records()
        .iter()
        .map(|r| r.transaction.unwrap())
        .collect();
    let seqs: Vec<_> = refs.iter().map(|r| r.seq).collect();
    assert_eq!(seqs, [0, 1, 2, 0, 1, 2, 0]);
    let ids: Vec<_> = refs.iter().map(|r| r.id).collect();
    assert!(ids[..3].iter().all(|id| *id == ids[0]));
    assert!(ids[3..6].iter().all(|id| *id == ids[3]));
    assert_eq!(ids.iter().collect::<HashSet<_>>().len(), 3);
}

#[test]
fn a_failure_inside_a_savepoint_that_is_rolled_back_spares_the_rest() {
    let app = app();
    let conn = &mut app.pool.get().unwrap();
    add!(conn, "ada");
    conn.transaction::<_, Error, _>(|conn| {
        add!(conn, "before");
        let inner: Result<usize, _> = conn.transaction(|conn| {
            add!(conn, "inside");
            audited::insert_into(accounts::table)
                .values(NewAccount::new("ada"))
                .execute(conn)
        });
        assert!(inner.is_err());
        add!(conn, "after");
        Ok(())
    })
    .unwrap();
    assert_kept!(app, conn, ["ada", "before", "after"]);
}

#[test]
fn a_panic_leaves_the_transaction_open_and_dropping_the_connection_ends_it() {
    let app = app();
    let mut conn = app.pool.get().unwrap();
    let panicked = catch_unwind(AssertUnwindSafe(|| {
        conn.transaction::<(), Error, _>(|conn| {
            add!(conn, "ada");
            panic!("on purpose")
        })
    }));
    assert!(panicked.is_err());
    // Used again, it is still inside of the transaction.
    add!(&mut conn, "used again");
    assert_eq!(app.records(), []);
    drop(conn);
    let conn = &mut app.pool.get().unwrap();
    add!(conn, "next");
    assert_kept!(app, conn, ["next"]);
    assert_eq!(app.auditor.stats().discarded, 2);
}

/// A value whose loading panics, in the middle of an audited statement.
#[derive(Debug)]
struct Explosive;

impl<ST, DB: diesel::backend::Backend> diesel::deserialize::FromSql<ST, DB> for Explosive {
    fn from_sql(_: DB::RawValue<'_>) -> diesel::deserialize::Result<Self> {
        panic!("on purpose")
    }
}

impl Queryable<diesel::sql_types::Text, super::Backend> for Explosive {
    type Row = Self;

    fn build(row: Self) -> diesel::deserialize::Result<Self> {
        Ok(row)
    }
}

#[test]
fn a_panic_inside_an_audited_statement_does_not_blind_the_recorder() {
    let app = app();
    let conn = &mut app.pool.get().unwrap();
    let panicked = catch_unwind(AssertUnwindSafe(|| {
        conn.transaction::<(), Error, _>(|conn| {
            add!(conn, "ada");
            audited::insert_into(accounts::table)
                .values(NewAccount::new("grace"))
                .returning(accounts::email)
                .get_result::<Explosive>(conn)?;
            Ok(())
        })
    }));
    assert!(panicked.is_err());
    diesel::sql_query("ROLLBACK").execute(conn).unwrap();
    add!(conn, "after");
    assert_kept!(app, conn, ["after"]);
}

#[test]
fn a_connection_dropped_midway_leaves_no_record() {
    let app = app();
    for round in ["first", "second"] {
        let mut conn = app.pool.get().unwrap();
        use diesel::connection::TransactionManager;
        type Manager = <super::Conn as Connection>::TransactionManager;
        <Manager as TransactionManager<super::Conn>>::begin_transaction(&mut conn).unwrap();
        add!(&mut conn, round);
    }
    let conn = &mut app.pool.get().unwrap();
    add!(conn, "next");
    assert_kept!(app, conn, ["next"]);
    assert_eq!(app.records()[0].transaction.unwrap().seq, 0);
}

#[test]
fn a_test_transaction_keeps_its_records_for_good() {
    let app = app();
    let mut conn = app.pool.get().unwrap();
    conn.begin_test_transaction().unwrap();
    conn.transaction::<_, Error, _>(|conn| {
        add!(conn, "ada");
        Ok(())
    })
    .unwrap();
    assert_eq!(app.auditor.pending(&mut conn).unwrap().len(), 1);
    drop(conn);
    assert_eq!(app.records(), []);
}
