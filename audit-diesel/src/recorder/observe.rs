//! Watches the queries of the connection: what each is about to do, and how it was answered.

use std::sync::atomic::Ordering;

use diesel::connection::{DebugQuery, InstrumentationEvent};
use diesel::result::Error;

use super::control::{self, Control};
use super::retry_point::RetryPoint;
use super::transaction::{Answer, Ended};
use super::{Dialect, Recorder};
#[cfg(feature = "failpoints")]
use crate::failpoint::failpoint;
use crate::guard::RawWrite;
use crate::{GuardMode, sql};

/// How Diesel asks PostgreSQL for the number of a type, as it does between the beginning of the
/// first query that has such a value and its sending.
const TYPE_LOOKUP: &str = r#"SELECT "pg_type"."oid", "pg_type"."typarray" FROM "#;

impl Recorder {
    pub(super) fn observe(&mut self, event: &InstrumentationEvent<'_>) {
        match event {
            InstrumentationEvent::StartQuery { query, .. } => {
                self.started(*query);
                #[cfg(feature = "failpoints")]
                if matches!(self.running[..], [Control::Commit { .. }]) {
                    failpoint!("transaction.before-commit");
                }
            }
            InstrumentationEvent::FinishQuery { error, .. } => {
                let answer = Answer::of(*error, self.transaction.dialect());
                if std::mem::take(&mut self.looks_type_up) {
                    return self.finished(&[], answer, WasRun::No);
                }
                if answer == Answer::Done {
                    self.record_raw_writes();
                }
                if !self.failed {
                    let controls = std::mem::take(&mut self.running);
                    let count = controls.len();
                    let was_run = match self.refused_whole {
                        true => WasRun::No,
                        false => WasRun::of(*error),
                    };
                    self.finished(&controls, answer, was_run);
                    let in_transaction = self.transaction.is_open();
                    let failed = answer != Answer::Done;
                    self.relations.answered(failed, count, in_transaction);
                }
                self.failed |= answer != Answer::Done;
            }
            InstrumentationEvent::CacheQuery { .. } => self.prepared_forms.one_more(),
            _ => {}
        }
    }

    fn started(&mut self, query: &dyn DebugQuery) {
        let running = std::mem::take(&mut self.running);
        let raw_writes = std::mem::take(&mut self.raw_writes);
        self.failed = false;
        if self.is_own() {
            return;
        }
        self.read(query);
        if self.looks_type_up {
            // What it is looked up for has begun, and is still to be sent.
            (self.running, self.raw_writes) = (running, raw_writes);
        } else {
            self.act();
        }
    }

    /// Reads what a query is about to do: to the transaction, and to audited tables.
    fn read(&mut self, query: &dyn DebugQuery) {
        let guarded = self
            .auditor
            .guarded_tables()
            .filter(|_| !self.is_retired && !self.exempt.is_in_force());
        let dialect = self.transaction.dialect();
        let in_transaction = self.transaction.is_open();
        let prepared = sql::read(query, |text| {
            self.looks_type_up = text.starts_with(TYPE_LOOKUP);
            if self.looks_type_up {
                return;
            }
            let text = &*match dialect {
                Dialect::Sqlite => sql::without_returns(text),
                _ => text.into(),
            };
            let relations = &mut self.relations;
            control::read(text, &mut self.running, |first, it| {
                relations.note(first, it, in_transaction)
            });
            if dialect == Dialect::Postgres {
                self.retry_point = RetryPoint::after(text, &self.running);
            }
            if let Some(tables) = guarded {
                let bounds = control::bounds(&self.running);
                let watch = &mut self.watch;
                self.raw_writes = watch.look(text, bounds, in_transaction, tables, dialect);
            }
        });
        if self.looks_type_up {
            return;
        }
        self.refused_whole = prepared && dialect == Dialect::Postgres;
        if prepared {
            self.raw_writes.extend(self.watch.saw_prepared());
            if dialect == Dialect::Sqlite {
                self.running.truncate(1);
            }
        }
    }

    /// Acts on what was read, before the query is sent.
    fn act(&mut self) {
        if self.running.iter().all(|it| *it == Control::CopyOut) {
            // It is one and the same for all recorders of the connection.
            if !self.is_retired {
                self.exempt.count_statement();
            }
        } else {
            // What a transaction wrote belongs to it, and it is about to end.
            self.record_raw_writes();
        }
        if let (Some(write), GuardMode::Panic) =
            (self.raw_writes.first(), self.auditor.guard_mode())
        {
            let message = write.message();
            self.raw_writes.clear();
            unaudited_write(&message);
        }
    }

    fn record_raw_writes(&mut self) {
        if self.raw_writes.is_empty() || self.auditor.guard_mode() != GuardMode::Record {
            return;
        }
        let context = self.auditor.context_or_unknown();
        let writes = std::mem::take(&mut self.raw_writes);
        self.auditor.unaudited_writes(&writes);
        let records: Vec<_> = writes.iter().map(|w| w.record(context.clone())).collect();
        self.record_noticed(records);
    }

    /// Leaves the trace of an audited write whose rows the database has not told.
    pub(crate) fn record_unreturned(&mut self, table: &str, verb: &'static str) {
        let write = RawWrite::unreturned(table, verb);
        let record = write.record(self.auditor.context_or_unknown());
        self.auditor.unaudited_writes(&[write]);
        self.record_noticed(vec![record]);
    }

    fn is_own(&self) -> bool {
        self.own_statement.load(Ordering::Relaxed)
    }

    /// One of several statements failed, and nobody says which.
    fn batch_failed(&mut self, mut controls: &[Control], answer: Answer, was_run: WasRun) {
        // What it begins with was done, as far as that cannot be what failed.
        while let [first, rest @ ..] = controls
            && answer.is_error()
            && was_run == WasRun::Surely
        {
            match self.transaction.foreseen(first) {
                Some(true) => {
                    let ended = self.transaction.controlled(first, Answer::Done);
                    self.settle(match answer {
                        Answer::Refused => ended,
                        _ => ended.map(Ended::unproven),
                    });
                    controls = rest;
                }
                // That is what failed, and the rest was not run.
                Some(false) => controls = &[],
                None => break,
            }
        }
        let perhaps_run = answer.is_error() && was_run != WasRun::No;
        let ended = self.transaction.batch_failed(controls, answer, perhaps_run);
        self.settle(ended);
    }

    fn finished(&mut self, controls: &[Control], answer: Answer, was_run: WasRun) {
        match controls {
            [] => {
                let ended = self.transaction.answered(answer, self.is_own());
                self.settle(ended);
            }
            [_, _, ..] if answer != Answer::Done => {
                self.batch_failed(controls, answer, was_run);
            }
            _ => {
                for control in controls {
                    let ended = self.transaction.controlled(control, answer);
                    self.settle(ended);
                }
            }
        }
    }
}

/// Whether statements of a failed batch were run. PostgreSQL reads all of its text before it runs any
/// of it, and each statement's names when its turn comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum WasRun {
    Surely,
    /// PostgreSQL names a place in the text, in a language that is not known here.
    Perhaps,
    No,
}

impl WasRun {
    fn of(error: Option<&Error>) -> Self {
        let Some(Error::DatabaseError(_, info)) = error else {
            return Self::No;
        };
        let message = info.message();
        if info.statement_position().is_none() || message.ends_with("does not exist") {
            Self::Surely
        } else if message.starts_with("syntax error") || message.starts_with("unterminated") {
            Self::No
        } else {
            Self::Perhaps
        }
    }
}

/// Stops the developer before the write is sent.
#[expect(clippy::panic, reason = "the guard's panic mode is asked for")]
fn unaudited_write(message: &str) -> ! {
    panic!("{message}")
}
