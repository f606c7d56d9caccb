//! The request path: what a statement costs, from the call to its return.

use std::time::Instant;

use audit_diesel::{Auditor, audited};
use chrono::{DateTime, NaiveDateTime};
use diesel::prelude::*;

use crate::measure::{Contender, Samples, race};
use crate::models::{Account, NewAccount, accounts, context};
use crate::report::Row;
use crate::world::World;
use crate::{Effort, Fallible};

const ROWS: usize = 10_000;

/// The same row for all contenders of a round, and another one in the next.
pub(crate) fn row(round: usize) -> i64 {
    (1 + round.wrapping_mul(7919) % ROWS) as i64
}

/// A value that the row does not have yet.
pub(crate) fn role(round: usize, contender: &str) -> String {
    format!("{contender}-{round}")
}

fn time(round: usize) -> NaiveDateTime {
    DateTime::UNIX_EPOCH.naive_utc() + chrono::Duration::seconds(round as i64)
}

/// The connections of the three ways to run a statement.
struct Ways {
    plain: PgConnection,
    journal: PgConnection,
    straight: PgConnection,
    _auditors: [Auditor; 2],
}

impl Ways {
    fn new(world: &World, name: &str) -> Fallible<Self> {
        let journal = world.auditor(&format!("{name}-journal"))?;
        let straight = world.auditor_without_journal(&format!("{name}-straight"))?;
        Ok(Self {
            plain: world.connection()?,
            journal: world.audited(&journal)?,
            straight: world.audited(&straight)?,
            _auditors: [journal, straight],
        })
    }

    fn race(self, rounds: usize, run: [fn(&mut PgConnection, usize); 3]) -> [Samples; 3] {
        let Self {
            mut plain,
            mut journal,
            mut straight,
            ..
        } = self;
        let [run_plain, run_journal, run_straight] = run;
        let samples = race(
            rounds,
            vec![
                Contender::new(|round| run_plain(&mut plain, round)),
                Contender::new(|round| context().scope(|| run_journal(&mut journal, round))),
                Contender::new(|round| context().scope(|| run_straight(&mut straight, round))),
            ],
        );
        samples.try_into().unwrap_or_default()
    }
}

pub(crate) fn rows(world: &World, effort: Effort) -> Fallible<Vec<Row>> {
    let rounds = effort.rounds(300, 2_000, 10_000);
    let mut rows = updates(world, rounds)?;
    rows.extend(inserts(world, rounds)?);
    rows.extend(deletes(world, rounds)?);
    rows.extend(transactions(world, rounds / 4)?);
    Ok(rows)
}

pub(crate) fn plain_update(conn: &mut PgConnection, id: i64, role: &str, round: usize) {
    diesel::update(accounts::table.find(id))
        .set((
            accounts::role.eq(role),
            accounts::updated_at.eq(time(round)),
        ))
        .execute(conn)
        .expect("an update");
}

pub(crate) fn audited_update(conn: &mut PgConnection, id: i64, role: &str, round: usize) {
    audited::update(accounts::table.find(id))
        .set((
            accounts::role.eq(role),
            accounts::updated_at.eq(time(round)),
        ))
        .execute(conn)
        .expect("an audited update");
}

fn updates(world: &World, rounds: usize) -> Fallible<Vec<Row>> {
    let [plain, journal, straight] = Ways::new(world, "update")?.race(
        rounds,
        [
            |conn, round| plain_update(conn, row(round), &role(round, "plain"), round),
            |conn, round| audited_update(conn, row(round), &role(round, "journal"), round),
            |conn, round| audited_update(conn, row(round), &role(round, "redis"), round),
        ],
    );
    Ok(three(
        "update of one row",
        &plain,
        &journal,
        &straight,
        1.00,
    ))
}

fn inserts(world: &World, rounds: usize) -> Fallible<Vec<Row>> {
    fn audited(conn: &mut PgConnection) {
        let new = NewAccount::new();
        let statement = audited::insert_into(accounts::table).values(&new);
        let _: Account = statement.get_result(conn).expect("an audited insert");
    }
    let [plain, journal, straight] = Ways::new(world, "insert")?.race(
        rounds,
        [
            |conn, _| {
                let new = NewAccount::new();
                let statement = diesel::insert_into(accounts::table).values(&new);
                let _: Account = statement.get_result(conn).expect("an insert");
            },
            |conn, _| audited(conn),
            |conn, _| audited(conn),
        ],
    );
    Ok(three(
        "insert with `get_result`",
        &plain,
        &journal,
        &straight,
        1.10,
    ))
}

fn three(
    what: &str,
    plain: &Samples,
    journal: &Samples,
    straight: &Samples,
    at_most: f64,
) -> Vec<Row> {
    let with_journal = Row::compare(format!("{what}, journal ÷ plain"), journal, plain);
    let p99 = with_journal.p99.unwrap_or(f64::NAN);
    vec![
        with_journal.at_most(at_most),
        Row::new(format!("{what}, journal ÷ plain, p99"), p99, "").at_most(1.25),
        Row::compare(format!("{what}, straight RPUSH ÷ plain"), straight, plain).at_most(1.15),
    ]
}

/// Deletes rows that were made for it; making them does not count.
fn deletes(world: &World, rounds: usize) -> Fallible<Vec<Row>> {
    let Ways {
        mut plain,
        mut journal,
        mut straight,
        ..
    } = Ways::new(world, "delete")?;
    let maker = std::cell::RefCell::new(world.connection()?);
    let made = || -> i64 {
        diesel::insert_into(accounts::table)
            .values(&NewAccount::new())
            .returning(accounts::id)
            .get_result(&mut *maker.borrow_mut())
            .expect("a row to delete")
    };
    let audited = |conn: &mut PgConnection| {
        let target = accounts::table.find(made());
        let start = Instant::now();
        let deleted = context().scope(|| audited::delete(target).execute(conn));
        assert_eq!(deleted.expect("an audited delete"), 1);
        start.elapsed()
    };
    let samples = race(
        rounds,
        vec![
            Contender::timed(|_| {
                let target = accounts::table.find(made());
                let start = Instant::now();
                let deleted = diesel::delete(target).execute(&mut plain);
                assert_eq!(deleted.expect("a delete"), 1);
                start.elapsed()
            }),
            Contender::timed(|_| audited(&mut journal)),
            Contender::timed(|_| audited(&mut straight)),
        ],
    );
    let [plain, journal, straight]: [Samples; 3] = samples.try_into().unwrap_or_default();
    Ok(three(
        "delete of one row",
        &plain,
        &journal,
        &straight,
        1.10,
    ))
}

const WRITES: usize = 10;

/// Ten updates of different rows in one transaction.
pub(crate) fn ten(conn: &mut PgConnection, round: usize, name: &str, one: Update) {
    conn.transaction(|conn| {
        for write in 0..WRITES {
            let at = round * WRITES + write;
            one(conn, row(at), &role(at, name), round);
        }
        QueryResult::Ok(())
    })
    .expect("a transaction");
}

fn transactions(world: &World, rounds: usize) -> Fallible<Vec<Row>> {
    let [plain, journal, straight] = Ways::new(world, "transaction")?.race(
        rounds,
        [
            |conn, round| ten(conn, round, "plain", plain_update),
            |conn, round| ten(conn, round, "journal", audited_update),
            |conn, round| ten(conn, round, "redis", audited_update),
        ],
    );
    let what = "ten updates in a transaction";
    Ok(vec![
        Row::compare(format!("{what}, journal ÷ plain"), &journal, &plain).at_most(1.05),
        Row::compare(format!("{what}, straight RPUSH ÷ plain"), &straight, &plain),
    ])
}

pub(crate) type Update = fn(&mut PgConnection, i64, &str, usize);
