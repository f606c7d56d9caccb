//! From Redis to the table, against what PostgreSQL can take at most.

use std::sync::Arc;
use std::time::{Duration, Instant};

use audit_diesel::{Consumer, Payload, Queue, Record, RedisQueue};
use diesel::connection::SimpleConnection;
use diesel::prelude::*;

use crate::child;
use crate::measure::{Contender, Samples, race_after};
use crate::models::context;
use crate::plot::Plots;
use crate::processor::Meter;
use crate::report::{Row, count, number};
use crate::rows::LogRow;
use crate::world::{PgPool, World};
use crate::{Effort, Fallible, micro};

const BATCH: usize = 1_000;

pub(crate) fn rows(world: &World, effort: Effort, plots: &mut Plots) -> Fallible<Vec<Row>> {
    let mut rows = against_sql(world, effort)?;
    rows.extend(by_batch_size(world, effort, plots)?);
    rows.extend(by_backlog(world, effort)?);
    Ok(rows)
}

/// New records: no two runs have the same ids.
pub(crate) fn records(count: usize) -> Vec<Record> {
    let (old, new) = micro::change();
    let context = context();
    let record = |_| Record::update(&old, &new, context.clone()).expect("a change");
    (0..count).map(record).collect()
}

fn payloads(records: &[Record]) -> Vec<Payload> {
    let encoded = records.iter().map(|record| record.encode().expect("JSON"));
    encoded.collect()
}

fn push(list: &RedisQueue, payloads: &[Payload]) {
    for chunk in payloads.chunks(BATCH) {
        list.push(chunk).expect("Redis takes it");
    }
}

/// How long a new consumer takes to empty the list.
fn drain(list: &RedisQueue, pool: &PgPool, batch: usize) -> Duration {
    let start = Instant::now();
    let consumer = Consumer::builder(Arc::new(list.clone()), pool.clone()).batch_size(batch);
    let consumer = consumer.spawn().expect("a consumer");
    consumer.flush().expect("all stored");
    let took = start.elapsed();
    consumer.stop().expect("stopped");
    took
}

/// A way to insert a batch.
type Insert = fn(&mut PgConnection, &[LogRow]) -> QueryResult<()>;

/// A batch a transaction, with one way to insert it.
fn insert(conn: &mut PgConnection, rows: &[LogRow], batch: Insert) -> Duration {
    let start = Instant::now();
    for rows in rows.chunks(BATCH) {
        conn.transaction(|conn| batch(conn, rows)).expect("a batch");
    }
    start.elapsed()
}

/// The baselines write a table like `audit_logs`, with its indexes.
fn against_sql(world: &World, effort: Effort) -> Fallible<Vec<Row>> {
    let size = effort.rounds(2_000, 10_000, 50_000);
    let (list, pool) = (world.list("consumer")?, world.pool()?);
    let conn = std::cell::RefCell::new(world.connection()?);
    conn.borrow_mut()
        .batch_execute("CREATE TABLE copied_logs (LIKE audit_logs INCLUDING ALL)")?;
    let meters: Vec<Meter> = (0..3).map(|_| Meter::new(world)).collect::<Fallible<_>>()?;
    let sql = |meter: Option<usize>, batch: Insert| {
        let (conn, meter) = (&conn, meter.map(|at| &meters[at]));
        Contender::timed(move |_| {
            let rows: Vec<_> = records(size).iter().map(LogRow::new).collect();
            let work = || insert(&mut conn.borrow_mut(), &rows, batch);
            meter.map_or_else(work, |meter| meter.measure(work))
        })
    };
    let (warm_up, rounds) = (1, effort.rounds(2, 5, 9));
    let samples = race_after(
        warm_up,
        rounds,
        vec![
            sql(Some(0), LogRow::copy),
            Contender::timed(|_| {
                push(&list, &payloads(&records(size)));
                meters[1].measure(|| drain(&list, &pool, BATCH))
            }),
            Contender::timed(|_| {
                let payloads = payloads(&records(size / 2));
                for batch in payloads.chunks(BATCH) {
                    push(&list, batch);
                    push(&list, batch);
                }
                meters[2].measure(|| drain(&list, &pool, BATCH))
            }),
            sql(None, LogRow::values),
            sql(None, LogRow::one_by_one),
        ],
    );
    let rate = |samples: &Samples| size as f64 / samples.p50() * 1e6;
    let [copy, ours, redelivered, values, one_by_one] = samples.as_slice() else {
        return Err("as many samples as contenders".into());
    };
    let against_copy = |what: &str, samples: &Samples| {
        // The time of COPY as a multiple of ours is our rate as a multiple of COPY's.
        Row::ratio(what, crate::measure::ratio(copy, samples)).detail(format!(
            "{} against {}",
            number(rate(samples), "records/s"),
            number(rate(copy), "records/s")
        ))
    };
    let processor_time = |what: &str, meter: &Meter| {
        let records = ((warm_up + rounds) * size) as f64;
        let seconds = meter.spent();
        let each = |seconds: f64| number(seconds * 1e6 / records, "µs");
        let all = seconds.this_process + seconds.postgres + seconds.redis;
        Row::new(what, all * 1e6 / records, "µs").detail(format!(
            "the process itself {}, PostgreSQL {}, Redis {}",
            each(seconds.this_process),
            each(seconds.postgres),
            each(seconds.redis)
        ))
    };
    Ok(vec![
        against_copy("consumer, Redis to table, records/s ÷ bare COPY", ours).at_least(0.80),
        against_copy("the same, half of the batches redelivered", redelivered).at_least(0.50),
        against_copy("multi-row VALUES, records/s ÷ bare COPY", values),
        against_copy("INSERT row by row, records/s ÷ bare COPY", one_by_one),
        processor_time("processor time a record, bare COPY", &meters[0]),
        processor_time("processor time a record, consumer", &meters[1]),
        processor_time("the same, half of the batches redelivered", &meters[2]),
    ])
}

fn by_batch_size(world: &World, effort: Effort, plots: &mut Plots) -> Fallible<Vec<Row>> {
    let (list, pool) = (world.list("sizes")?, world.pool()?);
    let size = effort.rounds(2_000, 10_000, 50_000);
    let mut rows = Vec::new();
    for batch in [10, 100, 500, 1_000, 2_000, 5_000, 10_000] {
        let size = size.min(batch * 500);
        let mut rates: Vec<f64> = (0..effort.rounds(1, 2, 5))
            .map(|_| {
                push(&list, &payloads(&records(size)));
                size as f64 / drain(&list, &pool, batch).as_secs_f64()
            })
            .collect();
        rates.sort_by(f64::total_cmp);
        let rate = rates[rates.len() / 2];
        plots.drain.push((batch as f64, rate));
        rows.push(Row::new(
            format!("consumer, batches of {}", count(batch)),
            rate,
            "records/s",
        ));
    }
    Ok(rows)
}

/// Memory and time a record, by what waits when the consumer starts.
fn by_backlog(world: &World, effort: Effort) -> Fallible<Vec<Row>> {
    let sizes: &[usize] = match effort {
        Effort::Smoke => &[1_000],
        Effort::Quick => &[1_000, 10_000, 100_000],
        Effort::Full => &[1_000, 10_000, 100_000, 1_000_000],
    };
    let list = world.list("backlog")?;
    let mut rows = Vec::new();
    for size in sizes {
        let mut left = *size;
        while left > 0 {
            let chunk = left.min(10_000);
            push(&list, &payloads(&records(chunk)));
            left -= chunk;
        }
        let outcome = child::run(world, "consume", *size)?;
        let what = format!("consumer's peak memory, backlog of {}", count(*size));
        let each = outcome.seconds * 1e6 / *size as f64;
        rows.push(
            Row::new(what, outcome.peak_kib / 1024.0, "MiB")
                .at_most(64.0)
                .detail(format!("{} a record", number(each, "µs"))),
        );
    }
    Ok(rows)
}
