use std::thread;

use audit_diesel::{Record, audited};
use audit_tests::app::accounts;
use diesel::prelude::*;

use super::{App, Pooled, app_with, find};

const THREADS: usize = 8;
const TURNS: usize = 15;

fn on_threads(app: &App, work: impl Fn(&mut Pooled, usize) + Sync) {
    thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                let conn = &mut app.pool.get().unwrap();
                for turn in 0..TURNS {
                    work(conn, turn);
                }
            });
        }
    });
}

/// Each step of 1 from 10 is recorded once for each of these rows.
fn assert_unbroken(app: &App, ids: &[i32]) {
    for id in ids {
        let of_row = |record: &Record| record.resource_id == Some(id.to_string());
        let mut steps: Vec<_> = app
            .records()
            .iter()
            .filter(|r| of_row(r))
            .map(step)
            .collect();
        steps.sort_unstable();
        let end = 10 + i64::try_from(THREADS * TURNS).unwrap();
        let expected: Vec<_> = (10..end).map(|old| (old, old + 1)).collect();
        assert_eq!(steps, expected, "row {id}");
    }
}

fn step(record: &Record) -> (i64, i64) {
    let changes = record.changes.as_ref().unwrap().to_value().unwrap();
    let side = |side| changes["balance"][side].as_i64().unwrap();
    (side("old"), side("new"))
}

#[test]
fn old_values_are_true_for_one_row() {
    let (app, conn) = &mut app_with(&["ada", "bob"]);
    on_threads(app, |conn, turn| {
        let update = || {
            audited::update(accounts::table.find(1))
                .set(accounts::balance.eq(accounts::balance + 1))
        };
        let count = if turn % 2 == 0 {
            update().execute(conn)
        } else {
            conn.transaction(|conn| update().execute(conn))
        };
        assert_eq!(count, Ok(1));
    });
    assert_unbroken(app, &[1]);
    assert_eq!(find(conn, 1).balance, 10 + (THREADS * TURNS) as i64);
    assert_eq!(find(conn, 2).balance, 10);
}

#[test]
fn old_values_are_true_for_several_rows() {
    let (app, _conn) = &mut app_with(&["ada", "bob", "carl"]);
    on_threads(app, |conn, _| {
        let update = || {
            audited::update(accounts::table.filter(accounts::id.le(3)))
                .set(accounts::balance.eq(accounts::balance + 1))
                .execute(conn)
        };
        assert_eq!(super::super::until_no_deadlock(update), Ok(3));
    });
    assert_unbroken(app, &[1, 2, 3]);
}
