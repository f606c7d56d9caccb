//! Many rows in one statement, with a record of each.

use std::time::Instant;

use audit_diesel::audited;
use diesel::connection::SimpleConnection;
use diesel::prelude::*;

use crate::child;
use crate::measure::{Contender, Samples, race_after};
use crate::models::{TRIGGER_CONTEXT, accounts, context};
use crate::report::{Row, count, number};
use crate::world::World;
use crate::{Effort, Fallible};

pub(crate) fn rows(world: &World, effort: Effort) -> Fallible<Vec<Row>> {
    let mut rows = Vec::new();
    let sizes: &[i64] = match effort {
        Effort::Smoke => &[1_000],
        Effort::Quick => &[10_000],
        Effort::Full => &[10_000, 100_000],
    };
    for size in sizes {
        rows.extend(of_size(world, *size, effort.rounds(2, 15, 15))?);
    }
    rows.extend(warmed(world, effort)?);
    rows.push(memory(world, effort)?);
    Ok(rows)
}

fn plain(conn: &mut PgConnection, size: i64) {
    diesel::update(accounts::table.filter(accounts::id.le(size)))
        .set(accounts::balance.eq(accounts::balance + 1))
        .execute(conn)
        .expect("a bulk update");
}

pub(crate) fn audited(conn: &mut PgConnection, size: i64) {
    context().scope(|| {
        audited::update(accounts::table.filter(accounts::id.le(size)))
            .set(accounts::balance.eq(accounts::balance + 1))
            .execute(conn)
            .expect("an audited bulk update");
    });
}

fn of_size(world: &World, size: i64, rounds: usize) -> Fallible<Vec<Row>> {
    let auditor = world.auditor(&format!("bulk-{size}"))?;
    let (mut one, mut two, mut three) = (
        world.connection()?,
        world.audited(&auditor)?,
        world.audited(&auditor)?,
    );
    let samples = race_after(
        1,
        rounds,
        vec![
            Contender::new(|_| plain(&mut one, size)),
            Contender::new(|_| audited(&mut two, size)),
            Contender::new(|_| {
                audit_diesel::exempt(&mut three, "a measurement", |conn| {
                    plain(conn, size);
                    QueryResult::Ok(())
                })
                .expect("an exempt block");
            }),
        ],
    );
    let [plain, ours, exempt]: [Samples; 3] = samples.try_into().unwrap_or_default();
    let what = format!("bulk update of {} rows", count(size as usize));
    Ok(vec![
        Row::compare(format!("{what}, a record a row ÷ plain"), &ours, &plain).at_most(3.0),
        Row::compare(format!("{what}, `exempt` ÷ plain"), &exempt, &plain).at_most(1.02),
    ])
}

/// The same update on a new connection, and on one that has run 20 updates of one row before:
/// then a plan that suits one row may be used for all of them.
fn warmed(world: &World, effort: Effort) -> Fallible<Vec<Row>> {
    let size = effort.rounds(1_000, 10_000, 10_000) as i64;
    let auditor = world.auditor("bulk-warmed")?;
    type Update = Box<dyn Fn(&mut PgConnection, i64)>;
    let contenders: [(&str, Update); 3] = [
        ("plain", Box::new(plain)),
        ("audited", Box::new(audited)),
        ("the statement trigger", Box::new(statement)),
    ];
    let mut rows = Vec::new();
    for (name, update) in contenders {
        let mut times = [Vec::new(), Vec::new()];
        for _ in 0..effort.rounds(1, 1, 3) {
            for (times, updates_before) in times.iter_mut().zip([0, 20]) {
                let mut conn = world.connection()?;
                if name == "audited" {
                    auditor.attach(&mut conn);
                }
                // The text and so the statement stay the same.
                (0..updates_before).for_each(|_| update(&mut conn, 1));
                let start = Instant::now();
                update(&mut conn, size);
                times.push(start.elapsed().as_secs_f64() * 1e3);
            }
        }
        let [fresh, warm] = times.map(|mut times| {
            times.sort_by(f64::total_cmp);
            times[times.len() / 2]
        });
        rows.push(
            Row::new(
                format!("bulk update on a warmed connection ÷ on a new one, {name}"),
                warm / fresh,
                "",
            )
            .detail(format!(
                "{} against {}",
                number(warm, "ms"),
                number(fresh, "ms")
            )),
        );
    }
    Ok(rows)
}

fn statement(conn: &mut PgConnection, size: i64) {
    conn.batch_execute(&format!(
        "SELECT set_config('audit.context', '{TRIGGER_CONTEXT}', false);
         SET statement_timeout = '30s'"
    ))
    .expect("the context is set");
    // It may take minutes: what is past the limit shows as the limit.
    let _ = diesel::sql_query("UPDATE statement_accounts SET balance = balance + 1 WHERE id <= $1")
        .bind::<diesel::sql_types::BigInt, _>(size)
        .execute(conn);
}

/// What the process holds at most, by the rows of one statement.
fn memory(world: &World, effort: Effort) -> Fallible<Row> {
    let many = effort.rounds(10_000, 100_000, 100_000);
    let few = many / 10;
    let peak = |rows: usize| child::run(world, "bulk", rows);
    let (few_at, many_at) = (peak(few)?, peak(many)?);
    let bytes = (many_at.peak_kib - few_at.peak_kib) * 1024.0 / (many - few) as f64;
    Ok(
        Row::new("memory a row of a bulk update", bytes, "bytes").detail(format!(
            "peak {} with {} rows",
            number(many_at.peak_kib / 1024.0, "MiB"),
            count(many)
        )),
    )
}
