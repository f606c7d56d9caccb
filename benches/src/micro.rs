//! The parts, without a server.

use std::hint::black_box;
use std::time::Instant;

use audit_diesel::{AuditContext, Journal, Payload, Queue, Record};

use crate::measure::{Contender, race, race_after};
use crate::models::{Account, account, context};
use crate::report::Row;
use crate::world::World;
use crate::{Effort, Fallible};

/// What is too short for the clock is done so often between two looks at it.
const AT_ONCE: usize = 200;

pub(crate) fn rows(world: &World, effort: Effort) -> Fallible<Vec<Row>> {
    let rounds = effort.rounds(20, 500, 2_000);
    let mut rows = diffs(rounds);
    rows.extend(contexts(rounds));
    rows.extend(journals(world, effort)?);
    Ok(rows)
}

fn many<T>(mut once: impl FnMut() -> T) -> impl FnMut(usize) {
    move |_| {
        for _ in 0..AT_ONCE {
            black_box(once());
        }
    }
}

fn diffs(rounds: usize) -> Vec<Row> {
    let (old, new) = change();
    let context = context();
    let samples = race(
        rounds,
        vec![
            Contender::new(many(|| {
                encode(Record::update(
                    black_box(&old),
                    black_box(&new),
                    context.clone(),
                ))
            })),
            Contender::new(many(|| by_value(black_box(&old), black_box(&new)))),
            Contender::new(many(|| diff(black_box(&old), black_box(&new)))),
            Contender::new(many(|| diff(black_box(&old), black_box(&old)))),
        ],
    );
    let [ours, values, diff, unchanged] = samples
        .iter()
        .map(|s| s.p50() / AT_ONCE as f64)
        .collect::<Vec<_>>()[..]
    else {
        return Vec::new();
    };
    vec![
        Row::new("diff of ten fields, one changed, as JSON", diff, "µs").at_most(1.0),
        Row::new(
            "the same by `serde_json::to_value` of both rows ÷ ours",
            values / diff,
            "",
        )
        .at_least(10.0)
        .detail(format!("{values:.2} µs against {diff:.2} µs")),
        Row::new("diff, record and encoding for the queue", ours, "µs"),
        Row::new("diff of ten fields, none changed", unchanged * 1e3, "ns"),
    ]
}

/// A row before and after one field has changed.
pub(crate) fn change() -> (Account, Account) {
    let old = account();
    let new = Account {
        role: "admin".into(),
        ..old.clone()
    };
    (old, new)
}

pub(crate) fn diff(old: &Account, new: &Account) -> Option<audit_diesel::Changes> {
    let mut out = audit_diesel::ChangesWriter::new(audit_diesel::ChangeKind::Update);
    audit_diesel::AuditFields::write_changes(Some(old), Some(new), &mut out);
    out.finish()
}

pub(crate) fn encode(record: Option<Record>) -> Option<Payload> {
    record.and_then(|record| record.encode().ok())
}

/// The obvious way: both rows as JSON values, compared field by field.
fn by_value(old: &Account, new: &Account) -> String {
    use serde_json::{Map, Value, json, to_value};
    let (Ok(Value::Object(old)), Ok(Value::Object(new))) = (to_value(old), to_value(new)) else {
        return String::new();
    };
    let mut changes = Map::new();
    for (name, new) in new {
        let old = &old[&name];
        if *old == new {
            continue;
        }
        let change = match &*name {
            "api_token" => json!({ "redacted": true }),
            _ => json!({ "old": old, "new": new }),
        };
        changes.insert(name, change);
    }
    Value::Object(changes).to_string()
}

fn contexts(rounds: usize) -> Vec<Row> {
    let context = context();
    let samples = race(
        rounds,
        vec![Contender::new(many(|| {
            black_box(&context).scope(|| AuditContext::current().actor_ref().is_some())
        }))],
    );
    let nanos = samples[0].p50() * 1e3 / AT_ONCE as f64;
    vec![Row::new("context: enter and read", nanos, "ns").at_most(50.0)]
}

/// A record of the usual size.
pub(crate) fn payload() -> Payload {
    let (old, new) = change();
    encode(Record::update(&old, &new, context())).expect("a record")
}

fn journals(world: &World, effort: Effort) -> Fallible<Vec<Row>> {
    let journal = Journal::builder(world.file("micro.db")).open()?;
    let payload = payload();
    let appends = effort.rounds(1_000, 20_000, 100_000);
    let samples = race_after(
        500,
        appends,
        vec![Contender::timed(|_| {
            let start = Instant::now();
            journal
                .push(std::slice::from_ref(&payload))
                .expect("an append");
            start.elapsed()
        })],
    );
    let append = &samples[0];
    Ok(vec![
        Row::new("journal append, `Fsync::Os`", append.p50(), "µs")
            .at_most(25.0)
            .detail(format!(
                "p99 {:.0} µs, p99.9 {:.0} µs",
                append.p99(),
                append.p999()
            )),
    ])
}
