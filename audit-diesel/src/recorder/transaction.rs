//! The records of the running transaction, and what the database decided about them.

use audit_core::{Payload, TransactionRef};
use uuid::Uuid;

use super::control::Control;
use crate::AuditError;

/// What differs between databases in how a transaction ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(
    not(feature = "postgres"),
    expect(dead_code, reason = "only PostgreSQL has this dialect")
)]
pub(crate) enum Dialect {
    /// An error aborts the transaction; COMMIT then succeeds and rolls back. COMMIT always ends
    /// the transaction, whatever it returns.
    Postgres,
    /// An error leaves the transaction as it was, also at COMMIT. A savepoint outside of a
    /// transaction opens one.
    Sqlite,
}

/// How a query was answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Answer {
    /// The database did it.
    Done,
    /// The database refused it.
    Refused,
    /// The connection was lost: it may have been done.
    Lost,
    /// An error on this side; what the database did is not known from it.
    Local,
}

/// A transaction that has ended, with its records.
#[derive(Debug)]
pub(super) enum Ended {
    Committed(Open),
    RolledBack(Open),
    /// The database knows, and has to be asked.
    InDoubt(Open),
    /// It goes on, without what was recorded since a savepoint.
    Undone(Undone),
}

/// What a rollback to a savepoint took back.
#[derive(Debug)]
pub(super) struct Undone {
    pub(super) records: usize,
    pub(super) transaction: Uuid,
    /// The place of the first record that is gone, where one of those was prepared.
    pub(super) prepared_from: Option<u32>,
}

/// Holds records back until their transaction has ended.
#[derive(Debug)]
pub(super) struct TransactionBuffer {
    dialect: Dialect,
    max_bytes: usize,
    open: Option<Open>,
}

#[derive(Debug)]
pub(super) struct Open {
    pub(super) id: Uuid,
    pub(super) xid: Option<i64>,
    pub(super) payloads: Vec<Payload>,
    /// Those that are written down already.
    pub(super) prepared: Vec<Payload>,
    /// Whether any record of it was written down, though it may be taken back by now.
    pub(super) has_prepared: bool,
    /// From which place on the prepared ones could not be taken back yet.
    stale_from: Option<u32>,
    /// Whether something in it failed: then what is said of its end may be wrong.
    pub(super) had_failure: bool,
    bytes: usize,
    /// How many records there are, those included that are not held here.
    records: u32,
    savepoints: Vec<Savepoint>,
    /// PostgreSQL refuses everything until a rollback, and turns COMMIT into one.
    aborted: bool,
    /// SQLite: opened by a savepoint, so releasing that one commits.
    opened_by_savepoint: bool,
    /// Set while it may have ended unseen, and how it has ended then.
    doubt: Option<Doubt>,
}

/// How a transaction ended, if it ended unseen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Doubt {
    /// By a COMMIT in a batch of which another statement failed.
    Committed,
    RolledBack,
}

#[derive(Debug)]
struct Savepoint {
    name: String,
    /// How much the transaction held when the savepoint was set.
    payloads: usize,
    prepared: usize,
    records: u32,
}

impl Open {
    fn new(opened_by_savepoint: bool) -> Self {
        Self {
            id: Uuid::now_v7(),
            xid: None,
            payloads: Vec::new(),
            prepared: Vec::new(),
            has_prepared: false,
            stale_from: None,
            had_failure: false,
            bytes: 0,
            records: 0,
            savepoints: Vec::new(),
            aborted: false,
            opened_by_savepoint,
            doubt: None,
        }
    }

    /// A transaction that Diesel's transaction manager opened before we came.
    fn of_depth(depth: u32) -> Self {
        let mut open = Self::new(false);
        for outer in 1..depth {
            open.savepoint(&format!("diesel_savepoint_{outer}"));
        }
        open
    }

    fn savepoint(&mut self, name: &str) {
        self.savepoints.push(Savepoint {
            name: name.to_owned(),
            payloads: self.payloads.len(),
            prepared: self.prepared.len(),
            records: self.records,
        });
    }

    /// The place of the innermost savepoint of that name.
    fn find(&self, name: &str, dialect: Dialect) -> Option<usize> {
        self.savepoints.iter().rposition(|s| match dialect {
            Dialect::Postgres => s.name == name,
            // SQLite ignores case, in quotes too.
            Dialect::Sqlite => s.name.eq_ignore_ascii_case(name),
        })
    }

    /// Drops what was recorded since the savepoint, which stays in force.
    fn rollback_to(&mut self, name: &str, dialect: Dialect) -> Option<Undone> {
        self.aborted = false;
        self.doubt = None;
        let at = self.find(name, dialect)?;
        let (held, prepared) = (self.payloads.len(), self.prepared.len());
        self.savepoints.truncate(at + 1);
        let savepoint = &self.savepoints[at];
        self.payloads.truncate(savepoint.payloads);
        self.prepared.truncate(savepoint.prepared);
        self.records = savepoint.records;
        self.bytes = self.pending().map(|p| p.as_bytes().len()).sum();
        let (held, prepared) = (held - self.payloads.len(), prepared - self.prepared.len());
        (held + prepared > 0).then_some(Undone {
            records: held + prepared,
            transaction: self.id,
            prepared_from: (prepared > 0).then_some(self.records),
        })
    }

    fn pending(&self) -> impl Iterator<Item = &Payload> {
        self.payloads.iter().chain(&self.prepared)
    }

    pub(super) fn count(&self) -> usize {
        self.payloads.len() + self.prepared.len()
    }

    /// It turned out that the transaction ended before.
    fn ended_unseen(self, dialect: Dialect) -> Ended {
        match (self.doubt, dialect) {
            // SQLite's COMMIT leaves the transaction open where it fails.
            (Some(Doubt::Committed), Dialect::Sqlite) => Ended::Committed(self),
            // In PostgreSQL it may be that very COMMIT that failed.
            (Some(Doubt::Committed), Dialect::Postgres) => Ended::InDoubt(self),
            (Some(Doubt::RolledBack) | None, _) => Ended::RolledBack(self),
        }
    }
}

impl TransactionBuffer {
    /// A buffer for a connection that Diesel has `depth` transactions open on.
    pub(super) fn new(dialect: Dialect, max_bytes: usize, depth: u32) -> Self {
        Self {
            dialect,
            max_bytes,
            open: (depth > 0).then(|| Open::of_depth(depth)),
        }
    }

    pub(super) fn dialect(&self) -> Dialect {
        self.dialect
    }

    pub(super) fn is_open(&self) -> bool {
        self.open.is_some()
    }

    /// Whether the database can be asked by an id what became of the transaction.
    pub(super) fn has_xid(&self) -> bool {
        self.open.as_ref().is_some_and(|open| open.xid.is_some())
    }

    /// Whether only the database knows if the transaction is open.
    ///
    /// SQLite ends a transaction by itself where a statement says `OR ROLLBACK`, where a trigger
    /// says `RAISE(ROLLBACK)`, and on errors such as a full disk.
    pub(super) fn may_have_ended(&self) -> bool {
        let doubt = self.open.as_ref().is_some_and(|open| open.doubt.is_some());
        doubt && self.dialect == Dialect::Sqlite
    }

    /// What the open transaction holds.
    pub(super) fn pending(&self) -> impl Iterator<Item = &Payload> {
        self.open.iter().flat_map(Open::pending)
    }

    /// The place of the record that comes next.
    pub(super) fn next_place(&self) -> u32 {
        self.open.as_ref().map_or(0, |open| open.records)
    }

    /// The running transaction, as far as it can be asked about.
    pub(super) fn identified(&self) -> Option<(Uuid, i64)> {
        let open = self.open.as_ref()?;
        Some((open.id, open.xid?))
    }

    /// From which place on prepared records could not be taken back.
    pub(super) fn stale_from(&self) -> Option<u32> {
        self.open.as_ref()?.stale_from
    }

    /// Notes that prepared records could not be taken back, or that they were.
    pub(super) fn set_stale_from(&mut self, from: Option<u32>) {
        if let Some(open) = &mut self.open {
            open.stale_from = match (open.stale_from, from) {
                (Some(before), Some(from)) => Some(before.min(from)),
                (_, from) => from,
            };
        }
    }

    /// Notes that records are about to be written down.
    pub(super) fn set_has_prepared(&mut self) {
        if let Some(open) = &mut self.open {
            open.has_prepared = true;
        }
    }

    /// Takes records that were written down.
    pub(super) fn hold_prepared(&mut self, payloads: Vec<Payload>) {
        if let Some(open) = &mut self.open {
            open.bytes += payloads.iter().map(|p| p.as_bytes().len()).sum::<usize>();
            open.prepared.extend(payloads);
            open.stale_from = None;
        }
    }

    /// Refuses further records where the transaction holds more than it may.
    pub(super) fn check_room(&self) -> Result<(), AuditError> {
        let max_bytes = self.max_bytes;
        match &self.open {
            Some(open) if open.bytes > max_bytes => {
                Err(AuditError::TransactionTooLarge { max_bytes })
            }
            _ => Ok(()),
        }
    }

    /// Collects the records of one statement.
    pub(super) fn statement(&mut self, xid: Option<i64>) -> Statement<'_> {
        let autocommit = self.open.is_none();
        let open = self.open.get_or_insert_with(|| Open::new(false));
        open.xid = open.xid.or(xid);
        Statement {
            buffer: self,
            autocommit,
        }
    }

    /// A query without transaction control was answered.
    pub(super) fn answered(&mut self, answer: Answer, own: bool) -> Option<Ended> {
        let open = self.open.as_mut()?;
        open.had_failure |= answer != Answer::Done;
        match (self.dialect, answer) {
            (Dialect::Postgres, Answer::Refused) => open.aborted = true,
            // An aborted transaction answers nothing, so it is not aborted (any more).
            (Dialect::Postgres, Answer::Done) if open.doubt.is_some() => {
                return self.ended_unseen();
            }
            (Dialect::Postgres, Answer::Done) => open.aborted = false,
            // For a query that loads rows Diesel says `Done` also where it failed.
            (Dialect::Sqlite, _) if !own => self.doubt(),
            _ => {}
        }
        None
    }

    /// Something failed that may have ended the transaction.
    fn doubt(&mut self) {
        if let Some(open) = &mut self.open {
            open.doubt.get_or_insert(Doubt::RolledBack);
        }
    }

    /// As [`doubt`](Self::doubt), where an error may end a transaction.
    pub(super) fn doubt_on_sqlite(&mut self) {
        if self.dialect == Dialect::Sqlite {
            self.doubt();
        }
    }

    /// Whether of a prepared text the database runs the first statement and ignores the rest.
    pub(super) fn runs_only_first_of_prepared(&self) -> bool {
        self.dialect == Dialect::Sqlite
    }

    /// The database says that the transaction is open.
    pub(super) fn still_open(&mut self) {
        if let Some(open) = &mut self.open {
            open.doubt = None;
        }
    }

    /// The database says that no transaction is open.
    pub(super) fn ended_unseen(&mut self) -> Option<Ended> {
        let dialect = self.dialect;
        self.open.take().map(|open| open.ended_unseen(dialect))
    }

    /// One of several statements failed, and nobody says which.
    pub(super) fn batch_failed(&mut self, controls: &[Control], answer: Answer) -> Option<Ended> {
        let has = |found: fn(&Control) -> bool| controls.iter().any(found);
        if self.dialect == Dialect::Sqlite && has(|c| matches!(c, Control::Begin)) {
            self.open.get_or_insert_with(|| Open::new(false));
        }
        let open = self.open.as_mut()?;
        open.had_failure = true;
        let commits = has(|c| matches!(c, Control::Commit { .. } | Control::Prepare))
            || (open.opened_by_savepoint && has(|c| matches!(c, Control::Release(_))));
        match answer {
            Answer::Local => return None,
            Answer::Lost if commits => return self.open.take().map(Ended::InDoubt),
            Answer::Lost => return None,
            Answer::Refused | Answer::Done => open.aborted = true,
        }
        if commits {
            open.doubt = Some(Doubt::Committed);
        } else if self.dialect == Dialect::Sqlite || has(|c| matches!(c, Control::Rollback { .. }))
        {
            open.doubt.get_or_insert(Doubt::RolledBack);
        }
        None
    }

    /// A query with transaction control was answered.
    pub(super) fn controlled(&mut self, control: &Control, answer: Answer) -> Option<Ended> {
        match control {
            Control::Commit { chain } => self.commit(answer, *chain),
            Control::Rollback { chain } => self.rollback(answer, *chain),
            Control::Prepare if matches!(answer, Answer::Done | Answer::Lost) => {
                self.open.take().map(Ended::InDoubt)
            }
            _ if answer != Answer::Done => self.answered(answer, false),
            Control::Begin => self.begin(),
            Control::Savepoint(name) => {
                let outermost = self.dialect == Dialect::Sqlite;
                self.open
                    .get_or_insert_with(|| Open::new(outermost))
                    .savepoint(name);
                None
            }
            Control::Release(name) => self.release(name),
            Control::RollbackTo(name) => {
                let dialect = self.dialect;
                let undone = self.open.as_mut()?.rollback_to(name, dialect);
                undone.map(Ended::Undone)
            }
            Control::Prepare | Control::Other => self.answered(answer, false),
        }
    }

    /// The connection is gone, and with it an open transaction.
    pub(super) fn closed(&mut self) -> Option<Ended> {
        self.ended_unseen()
    }

    fn begin(&mut self) -> Option<Ended> {
        let goes_on = match (&self.open, self.dialect) {
            // A second BEGIN is a warning there, unless the transaction is aborted.
            (Some(open), Dialect::Postgres) => open.doubt.is_none(),
            // A second BEGIN is an error there.
            _ => false,
        };
        if goes_on {
            return None;
        }
        let ended = self.ended_unseen();
        self.open = Some(Open::new(false));
        ended
    }

    fn commit(&mut self, answer: Answer, chain: bool) -> Option<Ended> {
        if answer != Answer::Done && self.dialect == Dialect::Sqlite {
            // COMMIT may be tried again, or rolled back, unless the error rolled back already.
            self.doubt();
            return None;
        }
        let open = self.end(answer, chain)?;
        Some(match answer {
            Answer::Lost | Answer::Local => Ended::InDoubt(open),
            Answer::Refused => Ended::RolledBack(open),
            Answer::Done if self.dialect == Dialect::Sqlite => Ended::Committed(open),
            Answer::Done if open.aborted => open.ended_unseen(self.dialect),
            Answer::Done => Ended::Committed(open),
        })
    }

    fn rollback(&mut self, answer: Answer, chain: bool) -> Option<Ended> {
        let open = self.end(answer, chain)?;
        // SQLite rolls back what is open, and refuses where nothing is.
        if answer == Answer::Done && self.dialect == Dialect::Sqlite {
            return Some(Ended::RolledBack(open));
        }
        Some(open.ended_unseen(self.dialect))
    }

    fn release(&mut self, name: &str) -> Option<Ended> {
        let dialect = self.dialect;
        let open = self.open.as_mut()?;
        let at = open.find(name, dialect)?;
        open.savepoints.truncate(at);
        if at == 0 && open.opened_by_savepoint {
            return self.open.take().map(Ended::Committed);
        }
        None
    }

    fn end(&mut self, answer: Answer, chain: bool) -> Option<Open> {
        let ended = self.open.take();
        if chain && answer == Answer::Done {
            self.open = Some(Open::new(false));
        }
        ended
    }
}

/// The records of one statement on their way into the buffer.
pub(super) struct Statement<'a> {
    buffer: &'a mut TransactionBuffer,
    /// Outside of a transaction a statement is its own.
    autocommit: bool,
}

impl Statement<'_> {
    /// The transaction and the place in it of the record that comes next.
    pub(super) fn next_ref(&mut self) -> TransactionRef {
        let open = self.buffer.open.get_or_insert_with(|| Open::new(false));
        // Counted, so that a rollback to a savepoint leaves no gap.
        TransactionRef {
            id: open.id,
            seq: open.records,
        }
    }

    /// Counts a record that is written elsewhere.
    pub(super) fn pass(&mut self) {
        let open = self.buffer.open.get_or_insert_with(|| Open::new(false));
        open.records = open.records.saturating_add(1);
    }

    pub(super) fn push(&mut self, payload: Payload) {
        self.pass();
        let open = self.buffer.open.get_or_insert_with(|| Open::new(false));
        open.bytes += payload.as_bytes().len();
        open.payloads.push(payload);
    }

    /// The records to publish now: those of a statement that was its own transaction.
    pub(super) fn finish(self) -> Option<Vec<Payload>> {
        if !self.autocommit {
            return None;
        }
        self.buffer.open.take().map(|open| open.payloads)
    }
}

impl Drop for Statement<'_> {
    /// A statement that fails half-way must not leave a transaction open that is none.
    fn drop(&mut self) {
        if self.autocommit {
            self.buffer.open = None;
        }
    }
}
