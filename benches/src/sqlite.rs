//! The request path on SQLite.

use audit_diesel::audited;
use diesel::connection::SimpleConnection;
use diesel::prelude::*;

use crate::measure::{Contender, race};
use crate::models::{Account, accounts, context};
use crate::report::Row;
use crate::request::role;
use crate::world::World;
use crate::{Effort, Fallible};

fn row(round: usize) -> i64 {
    (1 + round.wrapping_mul(7919) % 1_000) as i64
}

pub(crate) fn rows(world: &World, effort: Effort) -> Fallible<Vec<Row>> {
    let auditor = world.auditor("sqlite-journal")?;
    let path = world.file("app.db").display().to_string();
    let connect = || -> Fallible<SqliteConnection> {
        let mut conn = SqliteConnection::establish(&path)?;
        conn.batch_execute(
            "PRAGMA busy_timeout = 5000; PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL",
        )?;
        Ok(conn)
    };
    let (mut plain, mut ours, mut manual) = (connect()?, connect()?, connect()?);
    plain.batch_execute(include_str!("../sql/sqlite.sql"))?;
    auditor.attach(&mut ours);
    let samples = race(
        effort.rounds(300, 2_000, 10_000),
        vec![
            Contender::new(|round| {
                diesel::update(accounts::table.find(row(round)))
                    .set(accounts::role.eq(role(round, "plain")))
                    .execute(&mut plain)
                    .expect("an update");
            }),
            Contender::new(|round| {
                context().scope(|| {
                    audited::update(accounts::table.find(row(round)))
                        .set(accounts::role.eq(role(round, "journal")))
                        .execute(&mut ours)
                        .expect("an audited update");
                });
            }),
            Contender::new(|round| {
                by_hand(&mut manual, row(round), &role(round, "by hand")).expect("two statements");
            }),
        ],
    );
    Ok(vec![
        Row::compare(
            "SQLite: update of one row, journal ÷ plain",
            &samples[1],
            &samples[0],
        )
        .at_most(1.5),
        Row::compare(
            "SQLite: BEGIN IMMEDIATE, SELECT, UPDATE RETURNING, COMMIT ÷ plain",
            &samples[2],
            &samples[0],
        ),
    ])
}

/// The old row and the new one, as RETURNING cannot tell the old one there: what is left to do is
/// to compare them, and to keep the record.
pub(crate) fn by_hand(conn: &mut SqliteConnection, id: i64, role: &str) -> QueryResult<usize> {
    let (old, new): (Account, Account) = conn.immediate_transaction(|conn| {
        let old = accounts::table.find(id).first(conn)?;
        let update = diesel::update(accounts::table.find(id)).set(accounts::role.eq(role));
        QueryResult::Ok((old, update.get_result(conn)?))
    })?;
    Ok(usize::from(old != new))
}
