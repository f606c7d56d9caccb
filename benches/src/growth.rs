//! How costs grow: with columns, and with threads.

use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use audit_diesel::{AuditFields, ChangeKind, ChangesWriter, audited};
use diesel::prelude::*;

use crate::measure::{Contender, race};
use crate::models::{accounts, context};
use crate::report::{Row, count, number};
use crate::request::role;
use crate::world::World;
use crate::{Effort, Fallible};

pub(crate) fn rows(world: &World, effort: Effort) -> Fallible<Vec<Row>> {
    let mut rows: Vec<Row> = [1, 4, 16, 64]
        .map(|columns| by_columns(columns, effort))
        .into();
    for threads in [1, 2, 4, 8, 16] {
        rows.push(by_threads(world, threads, effort)?);
    }
    Ok(rows)
}

/// What the derive writes for a struct of that many fields.
struct Wide(Vec<(String, String)>);

impl AuditFields for Wide {
    fn write_changes(old: Option<&Self>, new: Option<&Self>, out: &mut ChangesWriter) {
        let (Some(old), Some(new)) = (old, new) else {
            return;
        };
        for ((name, old), (_, new)) in old.0.iter().zip(&new.0) {
            out.field(name, Some(old), Some(new));
        }
    }
}

impl Wide {
    fn new(columns: usize, value: &str) -> Self {
        let field = |n| (format!("column_{n}"), format!("{value} {n}"));
        Self((0..columns).map(field).collect())
    }
}

/// All of the columns change.
fn by_columns(columns: usize, effort: Effort) -> Row {
    const AT_ONCE: usize = 100;
    let (old, new) = (Wide::new(columns, "old"), Wide::new(columns, "new"));
    let samples = race(
        effort.rounds(20, 300, 1_000),
        vec![Contender::new(|_| {
            for _ in 0..AT_ONCE {
                let mut out = ChangesWriter::new(ChangeKind::Update);
                Wide::write_changes(Some(&old), Some(&new), &mut out);
                std::hint::black_box(out.finish());
            }
        })],
    );
    let nanos = samples[0].p50() * 1e3 / AT_ONCE as f64;
    Row::new(
        format!("diff of {columns} columns, all changed"),
        nanos,
        "ns",
    )
    .detail(format!("{} a column", number(nanos / columns as f64, "ns")))
}

type Update = fn(&mut PgConnection, i64, &str) -> QueryResult<usize>;

/// Updates a second by all threads together, with one journal, against plain Diesel.
fn by_threads(world: &World, threads: usize, effort: Effort) -> Fallible<Row> {
    let auditor = world.auditor(&format!("threads-{threads}"))?;
    let connections = |audited: bool| -> Fallible<Vec<PgConnection>> {
        (0..threads)
            .map(|_| match audited {
                true => world.audited(&auditor),
                false => world.connection(),
            })
            .collect()
    };
    let (mut plain_conns, mut ours_conns) = (connections(false)?, connections(true)?);
    let (mut plain, mut ours) = (Vec::new(), Vec::new());
    for _ in 0..effort.rounds(1, 3, 10) {
        let length = Duration::from_millis(effort.rounds(50, 200, 500) as u64);
        plain.push(rate(&mut plain_conns, length, |conn, id, role| {
            let target = accounts::table.find(id);
            diesel::update(target)
                .set(accounts::role.eq(role))
                .execute(conn)
        }));
        ours.push(rate(&mut ours_conns, length, |conn, id, role| {
            let target = accounts::table.find(id);
            let update = audited::update(target).set(accounts::role.eq(role));
            context().scope(|| update.execute(conn))
        }));
    }
    let median = |mut rates: Vec<f64>| {
        rates.sort_by(f64::total_cmp);
        rates[rates.len() / 2]
    };
    let (plain, ours) = (median(plain), median(ours));
    Ok(Row::new(
        format!("updates/s of {} threads, journal ÷ plain", count(threads)),
        ours / plain,
        "",
    )
    .detail(format!(
        "{} against {}",
        number(ours, "/s"),
        number(plain, "/s")
    )))
}

fn rate(conns: &mut [PgConnection], length: Duration, update: Update) -> f64 {
    let (done, over) = (AtomicU64::new(0), AtomicBool::new(false));
    let start = Barrier::new(conns.len() + 1);
    std::thread::scope(|scope| {
        for (thread, conn) in conns.iter_mut().enumerate() {
            let (done, over, start) = (&done, &over, &start);
            scope.spawn(move || {
                start.wait();
                for round in 0.. {
                    if over.load(Ordering::Relaxed) {
                        break;
                    }
                    // No two threads wait for the same row.
                    let id = 1 + (thread * 500 + round % 500) as i64;
                    update(conn, id, &role(round, "thread")).expect("an update");
                    done.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        start.wait();
        std::thread::sleep(length);
        over.store(true, Ordering::Relaxed);
    });
    done.load(Ordering::Relaxed) as f64 / length.as_secs_f64()
}
