//! What the documentation of `audited::insert_into` says to write instead of `do_update()`.

use std::thread;

use audit_diesel::audited;
use audit_tests::app::accounts;
use diesel::prelude::*;
use diesel::result::QueryResult;

use super::super::until_no_deadlock;
use super::{Conn, app_with};

const KEYS: [&str; 3] = ["ada", "bob", "carl"];
const THREADS: usize = 6;
const ROUNDS: usize = 20;

/// Adds one to the account's balance, or opens it with one: never neither, and never both.
fn add_one(conn: &mut Conn, email: &str) -> QueryResult<()> {
    loop {
        let updated = audited::update(accounts::table.filter(accounts::email.eq(email)))
            .set(accounts::balance.eq(accounts::balance + 1))
            .execute(conn)?;
        if updated > 0 {
            return Ok(());
        }
        let inserted = audited::insert_into(accounts::table)
            .values((accounts::email.eq(email), accounts::balance.eq(1)))
            .on_conflict(accounts::email)
            .do_nothing()
            .execute(conn)?;
        if inserted > 0 {
            return Ok(());
        }
    }
}

/// Closes the account, and says what was in it.
fn close(conn: &mut Conn, email: &str) -> QueryResult<i64> {
    let balances: Vec<i64> = audited::delete(accounts::table.filter(accounts::email.eq(email)))
        .returning(accounts::balance)
        .get_results(conn)?;
    Ok(balances.iter().sum())
}

#[test]
fn update_then_insert_loses_no_write_to_a_concurrent_insert_or_delete() {
    let (app, conn) = &mut app_with(&[]);
    let pool = &app.pool;
    let taken: i64 = thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS)
            .map(|thread| {
                scope.spawn(move || {
                    let conn = &mut pool.get().unwrap();
                    let mut taken = 0;
                    for round in 0..ROUNDS {
                        let email = KEYS[(thread + round) % KEYS.len()];
                        until_no_deadlock(|| add_one(conn, email)).unwrap();
                        if round % 4 == thread % 4 {
                            taken += until_no_deadlock(|| close(conn, email)).unwrap();
                        }
                    }
                    taken
                })
            })
            .collect();
        threads.into_iter().map(|it| it.join().unwrap()).sum()
    });
    let left: Vec<i64> = accounts::table
        .select(accounts::balance)
        .load(conn)
        .unwrap();
    let added = i64::try_from(THREADS * ROUNDS).unwrap();
    assert_eq!(taken + left.iter().sum::<i64>(), added);
    let of = |action: &str| {
        app.records()
            .iter()
            .filter(|it| it.action == action)
            .count()
    };
    assert_eq!(of("insert") + of("update"), THREADS * ROUNDS);
    assert_eq!(of("insert") - of("delete"), left.len());
}
