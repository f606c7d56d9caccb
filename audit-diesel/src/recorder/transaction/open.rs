//! A transaction that is open: the records it holds, and its savepoints.

use audit_core::Payload;
use uuid::Uuid;

use super::doubt::Doubt;
use super::{Dialect, Undone};

#[derive(Debug)]
pub(in crate::recorder) struct Open {
    pub(in crate::recorder) id: Uuid,
    pub(in crate::recorder) xid: Option<i64>,
    pub(in crate::recorder) payloads: Vec<Payload>,
    /// The records of the mode `prepared`, which are in the journal already.
    pub(in crate::recorder) prepared: Vec<Payload>,
    /// Whether any of its records was put into the journal before COMMIT, be it taken back by now or not.
    pub(in crate::recorder) has_prepared: bool,
    /// The journal could not be told yet that its prepared records from this number on were rolled back.
    pub(super) stale_from: Option<u32>,
    /// Whether a query of it failed. Then an answer to COMMIT or ROLLBACK alone proves nothing about its
    /// prepared records, and the database is asked.
    pub(in crate::recorder) had_failure: bool,
    pub(super) bytes: usize,
    /// How many records there are, those included that are not held here.
    pub(super) records: u32,
    pub(super) savepoints: Vec<Savepoint>,
    /// Set where the database may have other savepoints than these.
    pub(super) unsure_of_savepoints: bool,
    /// PostgreSQL refuses everything until a rollback, and turns COMMIT into one.
    pub(super) aborted: bool,
    /// It is aborted, and by an error that only the database itself can have given.
    pub(super) aborted_surely: bool,
    /// A `COPY … TO` is pending. Its failure while the rows are read is never reported.
    pub(super) unheard: bool,
    /// SQLite: opened by a savepoint, so releasing that one commits.
    pub(super) opened_by_savepoint: bool,
    #[cfg(feature = "sqlite")]
    pub(super) locks: WriteLocks,
    /// Set where a query may have ended the transaction without an answer that says so: how it ended then.
    pub(super) doubt: Option<Doubt>,
}

/// SQLite: which locks against other writers it holds. Only its end gives them back.
#[cfg(feature = "sqlite")]
#[derive(Debug, Clone, Default)]
pub(super) struct WriteLocks {
    /// The locks of all files, as it was begun by BEGIN IMMEDIATE.
    pub(super) all: bool,
    /// The tables whose files' locks it has taken since.
    pub(super) tables: Vec<&'static str>,
}

#[derive(Debug)]
pub(super) struct Savepoint {
    name: String,
    /// How much the transaction held when the savepoint was set.
    payloads: usize,
    prepared: usize,
    records: u32,
    /// The database's id of the subtransaction, once it was asked.
    writer: Option<i64>,
}

impl Open {
    pub(super) fn new(opened_by_savepoint: bool) -> Self {
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
            unsure_of_savepoints: false,
            aborted: false,
            aborted_surely: false,
            unheard: false,
            opened_by_savepoint,
            #[cfg(feature = "sqlite")]
            locks: WriteLocks::default(),
            doubt: None,
        }
    }

    /// A transaction that Diesel's transaction manager opened before we came.
    pub(super) fn of_depth(depth: u32) -> Self {
        let mut open = Self::new(false);
        for outer in 1..depth {
            open.savepoint(&format!("diesel_savepoint_{outer}"));
        }
        open.unsure_of_savepoints = true;
        open
    }

    /// Something failed in it, and so it is aborted, as far as is known.
    pub(super) fn abort(&mut self, surely: bool) {
        self.aborted = true;
        self.aborted_surely |= surely;
    }

    /// It is not aborted, or not any more.
    pub(super) fn usable(&mut self) {
        self.aborted = false;
        self.aborted_surely = false;
        self.unheard = false;
    }

    /// The same transaction, as seen by another auditor that comes now: it holds no records yet.
    pub(super) fn joined(&self) -> Self {
        let savepoint = |it: &Savepoint| Savepoint {
            name: it.name.clone(),
            payloads: 0,
            prepared: 0,
            records: 0,
            writer: it.writer,
        };
        Self {
            xid: self.xid,
            had_failure: self.had_failure,
            savepoints: self.savepoints.iter().map(savepoint).collect(),
            unsure_of_savepoints: self.unsure_of_savepoints,
            aborted: self.aborted,
            aborted_surely: self.aborted_surely,
            unheard: self.unheard,
            #[cfg(feature = "sqlite")]
            locks: self.locks.clone(),
            doubt: self.doubt.map(Doubt::without_records),
            ..Self::new(self.opened_by_savepoint)
        }
    }

    pub(super) fn savepoint(&mut self, name: &str) {
        self.savepoints.push(Savepoint {
            name: name.to_owned(),
            payloads: self.payloads.len(),
            prepared: self.prepared.len(),
            records: self.records,
            writer: None,
        });
    }

    /// How many savepoints are in force, as far as that is known.
    pub(super) fn depth(&self) -> Option<usize> {
        (!self.unsure_of_savepoints).then_some(self.savepoints.len())
    }

    /// By which id the database knows what is written now: the transaction's own, or that of the
    /// subtransaction that the innermost savepoint has begun.
    pub(super) fn writer(&self) -> Option<i64> {
        if self.unsure_of_savepoints {
            return None;
        }
        match self.savepoints.last() {
            Some(savepoint) => savepoint.writer,
            None => self.xid,
        }
    }

    /// Notes by which id the database knows what is written now.
    pub(super) fn set_writer(&mut self, writer: i64) {
        if let Some(savepoint) = self.savepoints.last_mut() {
            savepoint.writer = Some(writer);
        }
    }

    /// The place of the innermost savepoint of that name.
    pub(super) fn find(&self, name: &str, dialect: Dialect) -> Option<usize> {
        self.savepoints.iter().rposition(|s| match dialect {
            Dialect::Postgres => as_postgres_cuts(&s.name) == as_postgres_cuts(name),
            // SQLite ignores case, in quotes too.
            Dialect::Sqlite => s.name.eq_ignore_ascii_case(name),
        })
    }

    /// How many of the records held here are older than the savepoint in this place.
    pub(super) fn held_before(&self, at: usize) -> usize {
        self.savepoints[at].payloads
    }

    /// Drops what was recorded since the savepoint, which stays in force.
    pub(super) fn rollback_to(&mut self, name: &str, dialect: Dialect) -> Option<Undone> {
        self.usable();
        self.doubt = None;
        let at = self
            .find(name, dialect)
            .or_else(|| self.unknown_savepoint())?;
        let (held, prepared) = (self.payloads.len(), self.prepared.len());
        self.savepoints.truncate(at + 1);
        let savepoint = &mut self.savepoints[at];
        // The savepoint stays in force, and begins another subtransaction.
        savepoint.writer = None;
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

    /// The database has a savepoint that is not known here.
    pub(super) fn unknown_savepoint<T>(&mut self) -> Option<T> {
        self.unsure_of_savepoints = true;
        None
    }

    pub(super) fn pending(&self) -> impl Iterator<Item = &Payload> {
        self.payloads.iter().chain(&self.prepared)
    }

    pub(in crate::recorder) fn count(&self) -> usize {
        self.payloads.len() + self.prepared.len()
    }
}

/// PostgreSQL cuts names at 63 bytes.
fn as_postgres_cuts(name: &str) -> &str {
    let mut end = name.len().min(63);
    while !name.is_char_boundary(end) {
        end -= 1;
    }
    &name[..end]
}
