//! The control: a plain consumer, which pops a batch, stores it in one transaction, and
//! pushes it back when that fails. The suite has to find what it loses.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use diesel::prelude::*;
use diesel::sql_types::{Array, Text};

use crate::args::Args;
use crate::writer::pool;

const STORE: &str = "
INSERT INTO audit_logs
    (id, occurred_at, action, resource_type, resource_id, outcome, actor_id, request_id, changes)
SELECT (r->>'id')::uuid, to_timestamp((r->>'occurred_at')::bigint / 1e6), r->>'action',
       r->>'resource_type', r->>'resource_id', r->>'outcome',
       r->'context'->'actor'->>'id', r->'context'->>'request_id', r->'changes'
FROM unnest($1) AS payload(text), LATERAL (SELECT payload.text::jsonb AS r) AS record";

pub fn run(args: &Args, batch: usize, stop: &AtomicBool) {
    let client = redis::Client::open(args.required("redis")).expect("a Redis URL");
    let key = args.required("key");
    let pool = pool(args.required("postgres"), 1, None);
    while !stop.load(Ordering::Relaxed) {
        let moved = client
            .get_connection_with_timeout(Duration::from_millis(300))
            .and_then(|mut connection| {
                connection.set_read_timeout(Some(Duration::from_millis(500)))?;
                move_batch(&mut connection, key, &pool, batch)
            });
        if moved.unwrap_or(0) == 0 {
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

fn move_batch(
    connection: &mut redis::Connection,
    key: &str,
    pool: &crate::writer::PgPool,
    batch: usize,
) -> redis::RedisResult<usize> {
    let popped: Option<Vec<String>> = redis::cmd("LPOP").arg(key).arg(batch).query(connection)?;
    let popped = popped.unwrap_or_default();
    if popped.is_empty() {
        return Ok(0);
    }
    let stored = pool.get().ok().is_some_and(|mut conn| {
        diesel::sql_query(STORE)
            .bind::<Array<Text>, _>(&popped)
            .execute(&mut *conn)
            .is_ok()
    });
    if !stored {
        redis::cmd("RPUSH").arg(key).arg(&popped).exec(connection)?;
    }
    Ok(popped.len())
}
