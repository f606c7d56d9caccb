//! What the guard adds to a query that has nothing to do with auditing.

use audit_diesel::{Auditor, GuardMode, MemoryQueue};
use diesel::connection::SimpleConnection;
use diesel::prelude::*;

use crate::Fallible;
use crate::measure::{Contender, Samples, race};
use crate::models::accounts;
use crate::report::Row;
use crate::{Effort, world::World};

/// What is too short for the clock is done so often between two looks at it.
const AT_ONCE: usize = 50;

/// A closed list of the usual length.
const TABLES: usize = 100;

/// On SQLite in memory, where a query is shortest.
pub(crate) fn rows(_: &World, effort: Effort) -> Fallible<Vec<Row>> {
    let rounds = effort.rounds(20, 400, 2_000);
    let select = |conn: &mut SqliteConnection| {
        let _: String = accounts::table
            .find(1)
            .select(accounts::name)
            .first(conn)
            .expect("a row");
    };
    let update = |conn: &mut SqliteConnection| {
        diesel::sql_query("UPDATE others SET n = n + 1 WHERE id IN (SELECT id FROM accounts)")
            .execute(conn)
            .expect("an update");
    };
    Ok(vec![
        row(
            "guard, mode record: SELECT by key",
            compare(rounds, select)?,
        ),
        row(
            "guard, mode record: UPDATE of another table that reads an audited one",
            compare(rounds, update)?,
        ),
    ])
}

fn row(name: &'static str, samples: Vec<Samples>) -> Row {
    let [off, record] = [0, 1].map(|who| samples[who].p50() / AT_ONCE as f64);
    Row::new(name, record - off, "µs")
        .at_most(3.0)
        .detail(format!("{record:.1} µs against {off:.1} µs when off"))
}

fn compare(rounds: usize, query: impl Fn(&mut SqliteConnection)) -> Fallible<Vec<Samples>> {
    let mut off = connection(GuardMode::Off)?;
    let mut record = connection(GuardMode::Record)?;
    let many = |conn: &mut SqliteConnection| (0..AT_ONCE).for_each(|_| query(conn));
    Ok(race(
        rounds,
        vec![
            Contender::new(|_| many(&mut off)),
            Contender::new(|_| many(&mut record)),
        ],
    ))
}

fn connection(mode: GuardMode) -> Fallible<SqliteConnection> {
    let mut conn = SqliteConnection::establish(":memory:")?;
    conn.batch_execute(include_str!("../sql/sqlite.sql"))?;
    conn.batch_execute(
        "CREATE TABLE others (id integer NOT NULL PRIMARY KEY, n integer NOT NULL);
         INSERT INTO others VALUES (1, 0)",
    )?;
    let tables = (0..TABLES).map(|number| format!("table_{number}"));
    let tables: Vec<_> = tables.chain(["accounts".to_owned()]).collect();
    Auditor::builder()
        .queue(MemoryQueue::new())
        .guard(tables.iter().map(String::as_str))
        .guard_mode(mode)
        .build()?
        .attach(&mut conn);
    Ok(conn)
}
