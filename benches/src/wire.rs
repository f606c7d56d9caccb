//! What travels and what is written: prepared statements, bytes to Redis, PostgreSQL's log.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use audit_diesel::{Consumer, Queue, audited};
use diesel::connection::{InstrumentationEvent, SimpleConnection};
use diesel::prelude::*;
use diesel::sql_types::BigInt;

use crate::models::{NewAccount, TRIGGER_CONTEXT, accounts};
use crate::report::Row;
use crate::request::role;
use crate::world::World;
use crate::{Effort, Fallible, consumer, micro};

pub(crate) fn rows(world: &World, effort: Effort) -> Fallible<Vec<Row>> {
    let mut rows = vec![cache_hits(world)?, bytes_to_redis(world)?];
    rows.extend(log_bytes(world, effort.rounds(500, 2_000, 10_000))?);
    Ok(rows)
}

/// Of updates, inserts of a struct and deletes: how many found their statement prepared.
fn cache_hits(world: &World) -> Fallible<Row> {
    const EACH: u64 = 200;
    let auditor = world.auditor("cache")?;
    let (prepared, run) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let (counted, queries) = (Arc::clone(&prepared), Arc::clone(&run));
    let mut conn = world.connection()?;
    auditor.attach_chained(
        &mut conn,
        Some(Box::new(move |event: InstrumentationEvent<'_>| {
            let counter = match event {
                InstrumentationEvent::CacheQuery { .. } => &counted,
                InstrumentationEvent::StartQuery { .. } => &queries,
                _ => return,
            };
            counter.fetch_add(1, Ordering::Relaxed);
        })),
    );
    let new = NewAccount::new();
    for round in 0..EACH as usize {
        let target = accounts::table.find(1 + round as i64);
        let update = audited::update(target).set(accounts::role.eq(role(round, "cached")));
        update.execute(&mut conn)?;
        let insert = audited::insert_into(accounts::table).values(&new);
        let id: i64 = insert.returning(accounts::id).get_result(&mut conn)?;
        audited::delete(accounts::table.find(id)).execute(&mut conn)?;
    }
    let (prepared, run) = (
        prepared.load(Ordering::Relaxed),
        run.load(Ordering::Relaxed),
    );
    let hits = 100.0 * (1.0 - prepared as f64 / run as f64);
    Ok(Row::new("statements that were prepared already", hits, "%")
        .detail(format!("{prepared} prepared for {run} statements; plain Diesel prepares updates and struct inserts each time")))
}

fn bytes_to_redis(world: &World) -> Fallible<Row> {
    const RECORDS: u64 = 1_000;
    let list = world.list("bytes")?;
    let payload = micro::payload();
    list.push(std::slice::from_ref(&payload))?;
    let redis = &mut world.redis()?;
    let mut received = || -> Fallible<u64> {
        let info: redis::InfoDict = redis::cmd("INFO").arg("stats").query(redis)?;
        Ok(info
            .get("total_net_input_bytes")
            .ok_or("no such statistic")?)
    };
    let before = received()?;
    for _ in 0..RECORDS {
        list.push(std::slice::from_ref(&payload))?;
    }
    let bytes = (received()? - before) as f64 / RECORDS as f64;
    Ok(
        Row::new("bytes to Redis a record", bytes, "bytes").detail(format!(
            "the record itself: {} bytes of JSON",
            payload.as_bytes().len()
        )),
    )
}

/// How much PostgreSQL writes to its log for a record, beyond the update itself.
fn log_bytes(world: &World, records: usize) -> Fallible<Vec<Row>> {
    let conn = &mut world.connection()?;
    // Pages that were not written since the last checkpoint are logged whole, which would say
    // more about checkpoints than about records.
    conn.batch_execute("ALTER SYSTEM SET full_page_writes = off")?;
    conn.batch_execute("SELECT pg_reload_conf()")?;
    let mut logged = |work: &mut dyn FnMut() -> Fallible<()>| -> Fallible<f64> {
        let before = position(conn)?;
        work()?;
        Ok((position(conn)? - before) as f64 / records as f64)
    };
    let list = world.list("logged")?;
    let encoded = consumer::records(records);
    for record in &encoded {
        list.push(&[record.encode()?])?;
    }
    let pool = world.pool()?;
    let ours = logged(&mut || {
        let consumer = Consumer::builder(Arc::new(list.clone()), pool.clone()).spawn()?;
        consumer.flush()?;
        Ok(consumer.stop()?)
    })?;
    let mut other = world.connection()?;
    // It is bytes that are counted: nobody waits for the disk.
    other.batch_execute(&format!(
        "SET synchronous_commit = off;
         SELECT set_config('audit.context', '{TRIGGER_CONTEXT}', false)"
    ))?;
    let mut updates = |table: &str| {
        logged(&mut || {
            for round in 0..records {
                other.batch_execute(&format!(
                    "UPDATE {table} SET role = 'log-{round}' WHERE id = {}",
                    1 + round % 10_000
                ))?;
            }
            Ok(())
        })
    };
    let plain = updates("accounts")?;
    let statement = updates("statement_accounts")? - plain;
    let by_row = updates("row_accounts")? - plain;
    let conn = &mut world.connection()?;
    conn.batch_execute("ALTER SYSTEM RESET full_page_writes")?;
    conn.batch_execute("SELECT pg_reload_conf()")?;
    Ok(vec![
        Row::new("bytes of PostgreSQL's log a record", ours, "bytes"),
        Row::new("the same, the statement trigger", statement, "bytes"),
        Row::new("the same, row trigger without diff", by_row, "bytes"),
    ])
}

fn position(conn: &mut PgConnection) -> Fallible<i64> {
    let sql = "(pg_current_wal_insert_lsn() - '0/0')::bigint";
    Ok(diesel::select(diesel::dsl::sql::<BigInt>(sql)).get_result(conn)?)
}
