//! Random programs: afterwards the trail, replayed, is the table.

use std::collections::BTreeMap;

use audit_diesel::{Queue, audited};
use audit_tests::app::{NewAccount, accounts};
use diesel::connection::{SimpleConnection, TransactionManager};
use diesel::prelude::*;
use proptest::prelude::*;

use super::{App, Conn, app};
use crate::support::{replayed, settled};

type Manager = <Conn as Connection>::TransactionManager;

#[derive(Debug, Clone)]
enum Step {
    Raw(String),
    DieselBegin,
    DieselCommit,
    DieselRollback,
    Insert,
    Update(usize),
    Delete(usize),
    /// A failure that is swallowed.
    Fail(usize),
    /// Control, and then a failure, in one text.
    FailingBatch(Vec<String>),
}

/// What cannot be told from outside is left out: whether a COMMIT in it was done, or a RELEASE, which
/// may be one on SQLite.
fn failing_batch() -> impl Strategy<Value = Step> {
    let first = prop_oneof![
        3 => Just(None),
        1 => Just(Some("BEGIN".to_owned())),
        1 => Just(Some("ROLLBACK".to_owned())),
    ];
    let savepoint = prop_oneof![
        name().prop_map(|name| format!("SAVEPOINT {name}")),
        name().prop_map(|name| format!("ROLLBACK TO {name}")),
    ];
    (first, prop::collection::vec(savepoint, 0..3))
        .prop_map(|(first, rest)| Step::FailingBatch(first.into_iter().chain(rest).collect()))
}

fn name() -> impl Strategy<Value = &'static str> {
    prop_oneof![Just("s"), Just("t"), Just("\"S\"")]
}

fn step() -> impl Strategy<Value = Step> {
    let raw = prop_oneof![Just("BEGIN"), Just("COMMIT"), Just("ROLLBACK"), Just("END")];
    prop_oneof![
        2 => raw.prop_map(|sql| Step::Raw(sql.to_owned())),
        1 => name().prop_map(|name| Step::Raw(format!("SAVEPOINT {name}"))),
        1 => name().prop_map(|name| Step::Raw(format!("RELEASE SAVEPOINT {name}"))),
        1 => name().prop_map(|name| Step::Raw(format!("ROLLBACK TO {name}"))),
        3 => Just(Step::DieselBegin),
        2 => Just(Step::DieselCommit),
        1 => Just(Step::DieselRollback),
        4 => Just(Step::Insert),
        4 => any::<usize>().prop_map(Step::Update),
        1 => any::<usize>().prop_map(Step::Delete),
        1 => any::<usize>().prop_map(Step::Fail),
        1 => failing_batch(),
    ]
}

/// Runs a step. What fails is swallowed: all that counts is what the database does.
fn run(conn: &mut Conn, step: &Step, number: usize) {
    let one_of = |conn: &mut Conn, choice: usize| {
        let ids: Vec<i32> = accounts::table
            .select(accounts::id)
            .order(accounts::id)
            .load(conn)
            .unwrap_or_default();
        ids.get(choice % ids.len().max(1)).copied().unwrap_or(-1)
    };
    let _ = match step {
        Step::Raw(sql) => conn.batch_execute(sql),
        Step::DieselBegin => <Manager as TransactionManager<Conn>>::begin_transaction(conn),
        Step::DieselCommit => <Manager as TransactionManager<Conn>>::commit_transaction(conn),
        Step::DieselRollback => <Manager as TransactionManager<Conn>>::rollback_transaction(conn),
        Step::Insert => {
            let email = format!("account {number}");
            let row = NewAccount::new(&email);
            audited::insert_into(accounts::table)
                .values(row)
                .execute(conn)
                .map(drop)
        }
        Step::Update(choice) => {
            let row = accounts::table.find(one_of(conn, *choice));
            let more = accounts::balance.eq(accounts::balance + number as i64 + 1);
            audited::update(row).set(more).execute(conn).map(drop)
        }
        Step::Delete(choice) => {
            let row = accounts::table.find(one_of(conn, *choice));
            audited::delete(row).execute(conn).map(drop)
        }
        Step::FailingBatch(steps) => {
            conn.batch_execute(&format!("{}; SELECT * FROM nowhere", steps.join("; ")))
        }
        Step::Fail(choice) => match choice % 4 {
            0 => conn.batch_execute("SELECT * FROM nowhere"),
            1 => conn.batch_execute(""),
            2 => {
                let bad = (accounts::email.eq("bad"), accounts::balance.eq(-1));
                audited::insert_into(accounts::table)
                    .values(bad)
                    .execute(conn)
                    .map(drop)
            }
            _ => {
                let bad = (accounts::email.eq("bad"), accounts::balance.eq(-1));
                diesel::insert_into(accounts::table)
                    .values(bad)
                    .execute(conn)
                    .map(drop)
            }
        },
    };
}

fn check(app: &App, steps: &[Step], keep: bool) {
    let mut conn = app.pool.get().unwrap();
    conn.batch_execute("DELETE FROM accounts").unwrap();
    let old = app.queue.peek(usize::MAX).unwrap();
    app.queue.ack(&old).unwrap();
    for (number, step) in steps.iter().enumerate() {
        run(&mut conn, step, number);
    }
    let _ = conn.batch_execute(if keep { "COMMIT" } else { "ROLLBACK" });
    // On SQLite the next transaction tells how one has ended that ended unseen.
    conn.batch_execute("BEGIN").unwrap();
    conn.batch_execute("COMMIT").unwrap();
    let rows: Vec<(i32, String, i64)> = accounts::table
        .select((accounts::id, accounts::email, accounts::balance))
        .load(&mut app.pool.get().unwrap())
        .unwrap();
    let table: BTreeMap<_, _> = rows
        .into_iter()
        .map(|(id, email, balance)| (id, (email, balance)))
        .collect();
    let records = settled!(app, &mut app.pool.get().unwrap());
    assert_eq!(replayed(&records), table);
}

#[test]
fn the_trail_replayed_is_the_table() {
    let app = app();
    let config = ProptestConfig {
        cases: 150,
        failure_persistence: None,
        ..ProptestConfig::default()
    };
    proptest!(config, |(steps in prop::collection::vec(step(), 1..40), keep: bool)| {
        check(&app, &steps, keep);
    });
}
