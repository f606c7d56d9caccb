//! What else there is: triggers, and reading the row before writing it.

use audit_diesel::audited;
use diesel::prelude::*;
use diesel::sql_types::{Bool, Text};

use crate::measure::{Contender, race};
use crate::models::{Account, TRIGGER_CONTEXT, accounts, context};
use crate::plot::{Bar, Plots};
use crate::report::Row;
use crate::request::role;
use crate::world::World;
use crate::{Effort, Fallible};

diesel::define_sql_function! {
    /// The session variable that the triggers read.
    fn set_config(name: Text, value: Text, local: Bool) -> Text;
}

/// The table of a trigger, under the same columns.
macro_rules! same_columns {
    ($($table:ident)*) => {$(
        diesel::table! {
            $table (id) {
                id -> BigInt,
                role -> Text,
                updated_at -> Timestamp,
            }
        }
    )*};
}

same_columns!(statement_accounts row_accounts context_accounts);

fn row(round: usize) -> i64 {
    (1 + round.wrapping_mul(7919) % 10_000) as i64
}

/// A round trip of its own before each statement, prepared once: the best form that there is.
fn set_context(conn: &mut PgConnection) {
    diesel::select(set_config("audit.context", TRIGGER_CONTEXT, false))
        .execute(conn)
        .expect("the context is set");
}

macro_rules! update {
    ($table:ident, $conn:expr, $round:expr) => {
        diesel::update($table::table.find(row($round)))
            .set((
                $table::role.eq(role($round, stringify!($table))),
                $table::updated_at.eq(chrono::DateTime::UNIX_EPOCH.naive_utc()),
            ))
            .execute($conn)
            .expect("an update")
    };
}

pub(crate) fn rows(world: &World, effort: Effort, plots: &mut Plots) -> Fallible<Vec<Row>> {
    let auditor = world.auditor("peers-journal")?;
    let straight = world.auditor_without_journal("peers-straight")?;
    let mut conns = Vec::new();
    for _ in 0..5 {
        conns.push(world.connection()?);
    }
    let [
        mut plain,
        mut statement,
        mut by_row,
        mut with_context,
        mut locked,
    ] = <[PgConnection; 5]>::try_from(conns).map_err(|_| "five connections")?;
    let (mut ours, mut pushed) = (world.audited(&auditor)?, world.audited(&straight)?);
    let ours_update = |conn: &mut PgConnection, round: usize, name: &str| {
        context().scope(|| {
            audited::update(accounts::table.find(row(round)))
                .set((
                    accounts::role.eq(role(round, name)),
                    accounts::updated_at.eq(chrono::DateTime::UNIX_EPOCH.naive_utc()),
                ))
                .execute(conn)
                .expect("an audited update")
        });
    };
    let samples = race(
        effort.rounds(200, 1_000, 5_000),
        vec![
            Contender::new(|round| {
                update!(accounts, &mut plain, round);
            }),
            Contender::new(|round| ours_update(&mut ours, round, "journal")),
            Contender::new(|round| ours_update(&mut pushed, round, "redis")),
            Contender::new(|round| {
                update!(row_accounts, &mut by_row, round);
            }),
            Contender::new(|round| {
                set_context(&mut with_context);
                update!(context_accounts, &mut with_context, round);
            }),
            Contender::new(|round| {
                set_context(&mut statement);
                update!(statement_accounts, &mut statement, round);
            }),
            Contender::new(|round| locked_update(&mut locked, round)),
        ],
    );
    let [plain, ours, pushed, by_row, with_context, statement, locked] = samples.as_slice() else {
        return Err("as many samples as contenders".into());
    };
    plots.latency = [
        ("plain Diesel", plain),
        ("audited, journal", ours),
        ("audited, straight RPUSH", pushed),
        ("row trigger, no diff, no context", by_row),
        ("row trigger, no diff, context", with_context),
        ("BEGIN, SELECT FOR UPDATE, UPDATE, COMMIT", locked),
        ("statement trigger, diff, context", statement),
    ]
    .map(|(name, samples)| Bar::new(name, samples.p50(), samples.p99()))
    .to_vec();
    let best_peer = by_row.p50() / plain.p50();
    Ok(vec![
        Row::compare(
            "update of one row, journal ÷ the statement trigger",
            ours,
            statement,
        )
        .at_most(0.60),
        Row::compare(
            "update of one row, journal ÷ plain, beside the peers",
            ours,
            plain,
        )
        .at_most(best_peer),
        Row::compare(
            "the statement trigger with context ÷ plain",
            statement,
            plain,
        ),
        Row::compare("row trigger without diff ÷ plain", by_row, plain),
        Row::compare(
            "row trigger without diff, with context ÷ plain",
            with_context,
            plain,
        ),
        Row::compare(
            "BEGIN, SELECT FOR UPDATE, UPDATE, COMMIT ÷ plain",
            locked,
            plain,
        ),
    ])
}

/// Diesel's own statements for an old and a new row.
fn locked_update(conn: &mut PgConnection, round: usize) {
    conn.transaction(|conn| {
        let target = accounts::table.find(row(round));
        let _old: Account = target.for_update().get_result(conn)?;
        let _new: Account = diesel::update(target)
            .set((
                accounts::role.eq(role(round, "locked")),
                accounts::updated_at.eq(chrono::DateTime::UNIX_EPOCH.naive_utc()),
            ))
            .get_result(conn)?;
        QueryResult::Ok(())
    })
    .expect("a transaction");
}
