//! The records of the running transaction, and what the database decided about them.

mod answer;
mod doubt;
mod ended;
mod open;
mod statement;

pub(super) use answer::Answer;
pub(super) use ended::{Ended, Undone};
pub(super) use open::Open;

use audit_core::Payload;
use uuid::Uuid;

use crate::AuditError;
use crate::dialect::Dialect;

/// Holds records back until their transaction has ended.
#[derive(Debug)]
pub(super) struct TransactionBuffer {
    dialect: Dialect,
    max_bytes: usize,
    open: Option<Open>,
    /// The transaction whose COMMIT was answered by an error that proves nothing: it may still be
    /// open.
    perhaps_open: Option<i64>,
}

impl TransactionBuffer {
    /// A buffer for a connection that Diesel has `depth` transactions open on.
    pub(super) fn new(dialect: Dialect, max_bytes: usize, depth: u32) -> Self {
        Self {
            dialect,
            max_bytes,
            open: (depth > 0).then(|| Open::of_depth(depth)),
            perhaps_open: None,
        }
    }

    /// A buffer for another auditor on the same connection, which takes part in the open transaction
    /// from now on.
    pub(super) fn joined(&self, max_bytes: usize) -> Self {
        Self {
            dialect: self.dialect,
            max_bytes,
            open: self.open.as_ref().map(Open::joined),
            perhaps_open: self.perhaps_open,
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

    /// Notes that the open transaction began with the lock against other writers of all files.
    #[cfg(feature = "sqlite")]
    pub(super) fn note_write_lock(&mut self) {
        if let Some(open) = &mut self.open {
            open.locks.all = true;
        }
    }

    /// Whether the open transaction is known to hold the lock against other writers of this table.
    #[cfg(feature = "sqlite")]
    pub(super) fn has_lock_of(&self, table: &str) -> bool {
        let locks = self.open.as_ref().map(|open| &open.locks);
        locks.is_some_and(|locks| locks.all || locks.tables.contains(&table))
    }

    /// Notes that the open transaction holds the lock against other writers of this table.
    #[cfg(feature = "sqlite")]
    pub(super) fn note_lock_of(&mut self, table: &'static str) {
        if let Some(open) = &mut self.open {
            open.locks.tables.push(table);
        }
    }

    /// What the open transaction holds.
    pub(super) fn pending(&self) -> impl Iterator<Item = &Payload> {
        self.open.iter().flat_map(Open::pending)
    }

    /// The place of the record that comes next.
    pub(super) fn next_place(&self) -> u32 {
        self.open.as_ref().map_or(0, |open| open.records)
    }

    /// By which id the database knows what is written now, where that is known.
    pub(super) fn writer(&self) -> Option<i64> {
        self.open.as_ref().and_then(Open::writer)
    }

    /// How many savepoints are in force, as far as that is known.
    pub(super) fn depth(&self) -> Option<usize> {
        self.open.as_ref().map_or(Some(0), Open::depth)
    }

    /// Notes by which id the database knows what is written now.
    pub(super) fn set_writer(&mut self, writer: i64) {
        if let Some(open) = &mut self.open {
            open.set_writer(writer);
        }
    }

    /// The running transaction, as far as it can be asked about.
    pub(super) fn identified(&self) -> Option<(Uuid, i64)> {
        let open = self.open.as_ref()?;
        Some((open.id, open.xid?))
    }

    /// The number from which on the journal could not be told yet that prepared records were rolled back.
    pub(super) fn stale_from(&self) -> Option<u32> {
        self.open.as_ref()?.stale_from
    }

    /// Notes from which number on the journal still has prepared records that were rolled back, or that it
    /// has none.
    pub(super) fn set_stale_from(&mut self, from: Option<u32>) {
        if let Some(open) = &mut self.open {
            open.stale_from = match (open.stale_from, from) {
                (Some(before), Some(from)) => Some(before.min(from)),
                (_, from) => from,
            };
        }
    }

    /// Notes that records are about to be put into the journal before COMMIT.
    pub(super) fn set_has_prepared(&mut self) {
        if let Some(open) = &mut self.open {
            open.has_prepared = true;
        }
    }

    /// Holds records that were put into the journal before COMMIT.
    pub(super) fn hold_prepared(&mut self, payloads: Vec<Payload>) {
        if let Some(open) = &mut self.open {
            open.bytes += payloads.iter().map(|p| p.as_bytes().len()).sum::<usize>();
            open.prepared.extend(payloads);
            open.stale_from = None;
        }
    }

    /// Whether the open transaction was aborted by an error that a pooler in between may have made up.
    pub(super) fn is_doubtfully_aborted(&self) -> bool {
        let aborted = |open: &Open| open.aborted && !open.aborted_surely;
        self.open.as_ref().is_some_and(aborted)
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
}
