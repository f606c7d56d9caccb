//! A guard against regressions that does not look at the clock: instructions and allocations of
//! the paths that each request takes, counted by callgrind and compared with `budget.toml`.

use std::collections::BTreeMap;
use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use audit_diesel::{AuditContext, Auditor, Batch, Payload, Queue, QueueError, Record, audited};
use diesel::connection::SimpleConnection;
use diesel::prelude::*;

use crate::Fallible;
use crate::micro::{self, change, diff, encode};
use crate::models::{accounts, context};
use crate::sqlite;

/// Each path is run so often twice, and the difference counts: starting up is in both.
const FEW: u64 = 200;
const MANY: u64 = 1_200;

/// How much more than the budget is still no alarm: compilers and libraries differ a little.
const MARGIN: f64 = 1.10;

/// Runs a path so many times.
type Run = fn(u64) -> Fallible<()>;

const PATHS: [(&str, Run); 11] = [
    ("context_enter_and_read", |times| {
        let context = context();
        repeat(times, || {
            context.scope(|| AuditContext::current().is_empty())
        })
    }),
    ("diff_unchanged", |times| {
        let (old, _) = change();
        repeat(times, || diff(black_box(&old), black_box(&old)))
    }),
    ("diff_one_of_ten", |times| {
        let (old, new) = change();
        repeat(times, || diff(black_box(&old), black_box(&new)))
    }),
    ("record_and_encode", |times| {
        let ((old, new), context) = (change(), context());
        repeat(times, || {
            encode(Record::update(&old, &new, context.clone()))
        })
    }),
    ("decode", |times| {
        let payload = micro::payload();
        repeat(times, || Record::decode(payload.as_bytes()).is_ok())
    }),
    ("update_sqlite_plain", |times| {
        on_sqlite(times, false, |conn, role| {
            diesel::update(accounts::table.find(1))
                .set(accounts::role.eq(role))
                .execute(conn)
        })
    }),
    ("update_sqlite_audited", |times| {
        on_sqlite(times, true, |conn, role| {
            audited::update(accounts::table.find(1))
                .set(accounts::role.eq(role))
                .execute(conn)
        })
    }),
    ("update_sqlite_unchanged", |times| {
        on_sqlite(times, true, |conn, _| {
            audited::update(accounts::table.find(1))
                .set(accounts::role.eq("member"))
                .execute(conn)
        })
    }),
    ("update_sqlite_by_hand", |times| {
        on_sqlite(times, false, |conn, role| sqlite::by_hand(conn, 1, role))
    }),
    ("select_sqlite_plain", |times| {
        on_sqlite(times, false, |conn, _| select(conn))
    }),
    ("select_sqlite_guarded", |times| {
        on_sqlite(times, true, |conn, _| select(conn))
    }),
];

fn select(conn: &mut SqliteConnection) -> QueryResult<usize> {
    let role: String = accounts::table.find(1).select(accounts::role).first(conn)?;
    Ok(role.len())
}

fn repeat<T>(times: u64, mut once: impl FnMut() -> T) -> Fallible<()> {
    for _ in 0..times {
        black_box(once());
    }
    Ok(())
}

/// Takes records and forgets them.
struct Nowhere;

impl Queue for Nowhere {
    fn name(&self) -> String {
        "nowhere".into()
    }
    fn push(&self, payloads: &[Payload]) -> Result<(), QueueError> {
        black_box(payloads);
        Ok(())
    }
    fn peek(&self, _: usize) -> Result<Batch, QueueError> {
        Ok(Batch::default())
    }
    fn ack(&self, _: &Batch) -> Result<usize, QueueError> {
        Ok(0)
    }
    fn len(&self) -> Result<u64, QueueError> {
        Ok(0)
    }
}

/// In memory, so that the counts are the same each time.
fn on_sqlite(
    times: u64,
    attached: bool,
    run: impl Fn(&mut SqliteConnection, &str) -> QueryResult<usize>,
) -> Fallible<()> {
    let mut conn = SqliteConnection::establish(":memory:")?;
    conn.batch_execute(include_str!("../sql/sqlite.sql"))?;
    if attached {
        let builder = Auditor::builder().queue(Nowhere).guard(["accounts"]);
        let mode = audit_diesel::GuardMode::Record;
        builder.guard_mode(mode).build()?.attach(&mut conn);
    }
    let context = context();
    for time in 0..times {
        let role = if time % 2 == 0 { "admin" } else { "member" };
        context.scope(|| run(&mut conn, role))?;
    }
    Ok(())
}

/// What one run of a path costs.
struct Cost {
    instructions: u64,
    allocations: u64,
}

/// `--counts` compares, `--counts --accept` writes the budget anew, and `--counts PATH TIMES` is
/// what runs under callgrind.
pub(crate) fn main(arguments: &[String]) -> Fallible<()> {
    match arguments {
        [] => compare(),
        [accept] if accept == "--accept" => accept_all(),
        [path, times] => {
            let known = PATHS.iter().find(|(name, _)| name == path);
            known.ok_or("no such path")?.1(times.parse()?)
        }
        _ => Err("usage: --counts [--accept]".into()),
    }
}

fn compare() -> Fallible<()> {
    let text = std::fs::read_to_string(budget_file())?;
    let budget = read_budget(&text);
    let mut over = Vec::new();
    println!(
        "{:<26}{:>14}{:>14}{:>13}{:>9}",
        "path", "instructions", "budget", "allocations", "budget"
    );
    for (name, _) in PATHS {
        let cost = cost(name)?;
        let (instructions, allocations) = budget.get(name).copied().unwrap_or_default();
        println!(
            "{name:<26}{:>14}{instructions:>14}{:>13}{allocations:>9}",
            cost.instructions, cost.allocations
        );
        if cost.instructions as f64 > instructions as f64 * MARGIN || cost.allocations > allocations
        {
            over.push(name);
        }
    }
    match over.as_slice() {
        [] => Ok(()),
        over => Err(format!(
            "over the budget: {}; make it cheaper, or write the budget anew with \
             scripts/bench --counts --accept and say why",
            over.join(", ")
        )
        .into()),
    }
}

fn accept_all() -> Fallible<()> {
    let mut text = String::from(
        "# Instructions and allocations of one run of each path, written by\n\
         # `scripts/bench --counts --accept`. Up to a tenth more instructions pass.\n",
    );
    for (name, _) in PATHS {
        let Cost {
            instructions,
            allocations,
        } = cost(name)?;
        text += &format!("{name} = [{instructions}, {allocations}]\n");
    }
    print!("{text}");
    Ok(std::fs::write(budget_file(), text)?)
}

fn budget_file() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("budget.toml")
}

/// The lines `name = [instructions, allocations]`.
fn read_budget(text: &str) -> BTreeMap<&str, (u64, u64)> {
    text.lines()
        .filter_map(|line| {
            let (name, numbers) = line.split_once(" = [")?;
            let (instructions, allocations) = numbers.strip_suffix(']')?.split_once(", ")?;
            Some((
                name,
                (instructions.parse().ok()?, allocations.parse().ok()?),
            ))
        })
        .collect()
}

fn cost(path: &str) -> Fallible<Cost> {
    let (few, many) = (count(path, FEW)?, count(path, MANY)?);
    let each = |few: u64, many: u64| many.saturating_sub(few) / (MANY - FEW);
    Ok(Cost {
        instructions: each(few.instructions, many.instructions),
        allocations: each(few.allocations, many.allocations),
    })
}

fn count(path: &str, times: u64) -> Fallible<Cost> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("callgrind.out");
    let status = Command::new("valgrind")
        .args(["--tool=callgrind", "--error-exitcode=1", "--quiet"])
        .arg(format!("--callgrind-out-file={}", file.display()))
        .arg(std::env::current_exe()?)
        .args(["--counts", path, &times.to_string()])
        .stdout(Stdio::null())
        .status()?;
    if !status.success() {
        return Err(format!("{path} fails under callgrind").into());
    }
    read_callgrind(&std::fs::read_to_string(file)?)
}

/// Reads a callgrind profile: `summary: n`, and the calls of malloc and its like. A function's name
/// is written out once, as `cfn=(12) malloc`, and `cfn=(12)` after that.
fn read_callgrind(profile: &str) -> Fallible<Cost> {
    let mut instructions = None;
    let mut allocators = Vec::new();
    let mut called = "";
    let mut allocations = 0;
    for line in profile.lines() {
        if let Some(number) = line.strip_prefix("summary: ") {
            instructions = number.trim().parse().ok();
        } else if let Some(function) = line.strip_prefix("fn=").or(line.strip_prefix("cfn=")) {
            let (id, name) = function.split_once(' ').unwrap_or((function, ""));
            if matches!(name, "malloc" | "calloc" | "realloc") {
                allocators.push(id);
            }
            if line.starts_with('c') {
                called = id;
            }
        } else if let Some(calls) = line.strip_prefix("calls=")
            && allocators.contains(&called)
        {
            let number = calls.split(' ').next().unwrap_or_default();
            allocations += number.parse::<u64>()?;
        }
    }
    Ok(Cost {
        instructions: instructions.ok_or("a profile without a summary")?,
        allocations,
    })
}
