//! Compares what the database kept with what the trail says.

mod chain;
mod expected;
mod quarantine;

use std::collections::{BTreeMap, HashMap};
use std::fmt;

use diesel::prelude::*;
use serde_json::Value;

use quarantine::Quarantine;

use crate::app::truth;
use crate::outcomes::Outcome;
use audit_diesel::postgres::{audit_logs, audit_quarantine};

/// A write that the database kept.
#[derive(Queryable)]
pub struct Kept {
    op: String,
    action: String,
    row_id: i64,
    old: Option<Value>,
    new: Option<Value>,
}

/// A record of the trail.
#[derive(Queryable)]
pub struct Recorded {
    request_id: Option<String>,
    action: String,
    resource_id: Option<String>,
    actor_id: Option<String>,
    changes: Option<Value>,
}

/// What identifies a write: its operation, the row, what was done, and the statement's stamp.
type Key = (String, String, String, String);

/// What the writers were told, and what they died of.
pub struct Told {
    pub outcomes: HashMap<String, Outcome>,
    pub fates: HashMap<String, &'static str>,
    /// In modes without a window every loss counts.
    pub has_window: bool,
}

/// The totals of a run.
#[derive(Debug, Default, Clone)]
pub struct Verdict {
    pub kept: u64,
    pub recorded: u64,
    /// In quarantine without ever having been a write.
    pub poisoned: u64,
    /// Kept by the database, and in quarantine with the reason instead of in the trail.
    pub set_aside: u64,
    /// Kept by the database and in nobody's records, though nothing allows for it.
    pub lost: u64,
    pub twice: u64,
    pub phantom: u64,
    pub wrong: u64,
    pub wrong_old: u64,
    /// Lost in a window that the documentation names: by what the process died of.
    pub windows: BTreeMap<String, u64>,
    /// Examples of what is wrong.
    pub examples: Vec<String>,
}

/// What is lost where a statement outside of a transaction was cut off from its answer.
pub const CUT_OFF: &str = "connection lost in autocommit";

impl Verdict {
    /// Whether nothing is wrong beyond the windows that are documented.
    pub fn is_good(&self) -> bool {
        self.lost + self.twice + self.phantom + self.wrong + self.wrong_old == 0
    }

    /// Whether everything that was kept is accounted for.
    pub fn adds_up(&self) -> bool {
        let records = self.recorded + self.set_aside + self.lost + self.in_windows();
        self.kept + self.twice + self.phantom == records
    }

    /// Losses in documented windows.
    pub fn in_windows(&self) -> u64 {
        self.windows.values().sum()
    }

    /// Adds the totals of another run.
    pub fn add(&mut self, other: Self) {
        self.kept += other.kept;
        self.recorded += other.recorded;
        self.poisoned += other.poisoned;
        self.set_aside += other.set_aside;
        self.lost += other.lost;
        self.twice += other.twice;
        self.phantom += other.phantom;
        self.wrong += other.wrong;
        self.wrong_old += other.wrong_old;
        for (window, count) in other.windows {
            *self.windows.entry(window).or_default() += count;
        }
        self.examples.extend(other.examples);
    }

    fn example(&mut self, text: impl FnOnce() -> String) {
        if self.examples.len() < 12 {
            self.examples.push(text());
        }
    }
}

/// Reads both sides and compares them.
///
/// # Panics
///
/// When the database cannot be read.
pub fn judge(conn: &mut PgConnection, told: &Told) -> Verdict {
    let kept: Vec<Kept> = truth::table
        .select((
            truth::op,
            truth::action,
            truth::row_id,
            truth::old,
            truth::new,
        ))
        .order(truth::seq)
        .load(conn)
        .expect("the truth");
    let records: Vec<Recorded> = audit_logs::table
        .select((
            audit_logs::request_id,
            audit_logs::action,
            audit_logs::resource_id,
            audit_logs::actor_id,
            audit_logs::changes,
        ))
        .filter(audit_logs::resource_type.eq("accounts"))
        .load(conn)
        .expect("the trail");
    let held = audit_quarantine::table
        .select((audit_quarantine::reason, audit_quarantine::payload))
        .load(conn)
        .expect("the quarantine");
    compare(&kept, &records, &Quarantine::read(held), told)
}

fn compare(kept: &[Kept], records: &[Recorded], quarantine: &Quarantine, told: &Told) -> Verdict {
    let mut verdict = Verdict {
        kept: kept.len() as u64,
        recorded: records.len() as u64,
        poisoned: quarantine.poisoned,
        ..Verdict::default()
    };
    let mut found: HashMap<Key, Vec<&Recorded>> = HashMap::new();
    for record in records {
        found.entry(record.key()).or_default().push(record);
    }
    for write in kept {
        let Some(records) = found.remove(&write.key()) else {
            if let Some(reason) = quarantine.writes.get(&write.key()) {
                verdict.set_aside += 1;
                verdict.example(|| format!("set aside: {write:?}: {reason}"));
                continue;
            }
            missing(&mut verdict, write, told);
            continue;
        };
        if records.len() > 1 {
            verdict.twice += records.len() as u64 - 1;
            verdict.example(|| format!("twice: {write:?}"));
        }
        for record in records {
            check(&mut verdict, write, record);
        }
    }
    for record in found.into_values().flatten() {
        verdict.phantom += 1;
        verdict.example(|| format!("phantom: {record:?}"));
    }
    chain::check(&mut verdict, records);
    verdict
}

fn missing(verdict: &mut Verdict, write: &Kept, told: &Told) {
    match window(write, told).filter(|_| told.has_window) {
        Some(window) => *verdict.windows.entry(window.to_owned()).or_default() += 1,
        None => {
            verdict.lost += 1;
            let outcome = told.outcomes.get(&write.op);
            let fate = told.fates.get(write.process());
            verdict.example(|| format!("lost: {write:?} told {outcome:?}, fate {fate:?}"));
        }
    }
}

/// The documented window that the write is lost in, if it is in one.
fn window(write: &Kept, told: &Told) -> Option<&'static str> {
    match told.outcomes.get(&write.op) {
        // The call never returned: its process died in it.
        None => told.fates.get(write.process()).copied(),
        Some(Outcome::AutocommitFailed) => Some(CUT_OFF),
        Some(Outcome::Returned | Outcome::Failed) => None,
    }
}

fn check(verdict: &mut Verdict, write: &Kept, record: &Recorded) {
    let expected = expected::changes(write.old.as_ref(), write.new.as_ref());
    let actual = record.changes.clone().unwrap_or(Value::Null);
    if expected == actual
        && record.actor_id.as_deref() == write.op.rsplit_once('.').map(|(thread, _)| thread)
    {
        return;
    }
    if expected::old_values(&expected) == expected::old_values(&actual) {
        verdict.wrong += 1;
    } else {
        verdict.wrong_old += 1;
    }
    verdict.example(|| format!("wrong: {write:?} but {record:?}"));
}

impl Kept {
    /// `writer0.3` of the operation `writer0.3.1.17`.
    fn process(&self) -> &str {
        let end = self.op.match_indices('.').nth(1);
        end.map_or(&self.op, |(at, _)| &self.op[..at])
    }

    fn key(&self) -> Key {
        let row = self.new.as_ref().or(self.old.as_ref());
        let stamp = row.and_then(|row| row["stamp"].as_str());
        (
            self.op.clone(),
            self.row_id.to_string(),
            self.action.clone(),
            stamp.unwrap_or_default().to_owned(),
        )
    }
}

impl Recorded {
    fn key(&self) -> Key {
        let sides = self.changes.as_ref().map(|changes| &changes["stamp"]);
        let stamp = sides.and_then(|s| s.get("new").or(s.get("old"))?.as_str());
        (
            self.request_id.clone().unwrap_or_default(),
            self.resource_id.clone().unwrap_or_default(),
            self.action.clone(),
            stamp.unwrap_or_default().to_owned(),
        )
    }
}

impl fmt::Debug for Kept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let changes = expected::changes(self.old.as_ref(), self.new.as_ref());
        let Self {
            op, action, row_id, ..
        } = self;
        write!(f, "{op} {action} {row_id} {changes}")
    }
}

impl fmt::Debug for Recorded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = |text: &Option<String>| text.clone().unwrap_or_default();
        let changes = self.changes.clone().unwrap_or_default();
        let (op, id) = (text(&self.request_id), text(&self.resource_id));
        write!(f, "{op} {} {id} {changes}", self.action)
    }
}
