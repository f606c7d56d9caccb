//! A batch inside its transaction: what is in doubt is settled, what is new is inserted, and the
//! record that is refused is found.

use std::collections::{HashMap, HashSet};

use diesel::result::{DatabaseErrorKind, Error, QueryResult};
use uuid::Uuid;

use super::Tally;
use super::backend::{Backend, Begun, TransactionStatus};
use super::doubt::status_of;
use super::probe::{TableRefusesAll, dropped, takes_others};
use super::quarantine::{leave_out_stored, quarantine};
use super::refusal::is_outage;
use crate::store::{EntryToStore, Refused};

/// Why a record is not stored whose id another one has.
const CONTRADICTION: &str = "a record of this id that says something else is stored: one of the two \
                             was made up, or changed on its way";

/// A batch that is being stored.
pub(super) struct Storing<'a> {
    pub(super) begun: Begun,
    pub(super) tally: Tally,
    refused: Vec<Refused>,
    /// Of the refused ones, those that contradict a stored record, by their ids in quarantine.
    contradicting: HashSet<Uuid>,
    /// Why the connection is lost: whatever fails after that says only that it is.
    cause: &'a mut Option<Error>,
}

impl<'a> Storing<'a> {
    pub(super) fn new(begun: Begun, refused: Vec<Refused>, cause: &'a mut Option<Error>) -> Self {
        Self {
            begun,
            tally: Tally::default(),
            refused,
            contradicting: HashSet::new(),
            cause,
        }
    }

    /// Puts what is refused into quarantine, and hands it out with the ids of what was not there.
    ///
    /// In the same transaction: a record is stored or quarantined, never both or neither. It also
    /// tells a refusal from an outage: where nothing can be written, this fails too.
    pub(super) fn quarantine<C: Backend>(
        &mut self,
        conn: &mut C,
    ) -> QueryResult<(Vec<Refused>, Vec<Uuid>)> {
        let mut refused = std::mem::take(&mut self.refused);
        let stored = leave_out_stored(conn, &mut refused)?;
        let new = match refused.is_empty() {
            true => Vec::new(),
            false => quarantine(conn, &refused)?,
        };
        let contradicting = |id: &&Uuid| self.contradicting.contains(id);
        self.tally.contradicting = new.iter().filter(contradicting).count();
        self.tally.quarantined = new.len();
        self.tally.duplicates += stored + refused.len() - new.len();
        Ok((refused, new))
    }

    /// Asks the database about transactions whose end nobody saw.
    pub(super) fn settle<C: Backend>(
        &mut self,
        conn: &mut C,
        entries: Vec<EntryToStore>,
    ) -> QueryResult<Vec<EntryToStore>> {
        let mut known = HashMap::new();
        let mut waiting = HashSet::new();
        let mut settled = Vec::with_capacity(entries.len());
        for entry in entries {
            let Some(unsettled) = &entry.record.unsettled else {
                settled.push(entry);
                continue;
            };
            let status = match known.get(unsettled) {
                Some(status) => *status,
                None => status_of(conn, unsettled, entry.record.occurred_at)?,
            };
            known.insert(unsettled.clone(), status);
            match status {
                TransactionStatus::Committed => settled.push(entry),
                TransactionStatus::Aborted => self.tally.rolled_back += 1,
                // A journal may deliver it again and again meanwhile.
                TransactionStatus::InProgress if !waiting.insert(entry.payload.clone()) => {
                    self.tally.duplicates += 1;
                }
                TransactionStatus::InProgress => self.tally.put_off.push(entry.payload),
                TransactionStatus::Unknown => self.refuse(
                    &entry,
                    "nobody saw how the transaction ended, as where the connection is lost during \
                     COMMIT, and this database cannot tell: it crashed or was restored since, the \
                     id is too old, or the transaction was another server's",
                ),
            }
        }
        Ok(settled)
    }

    /// Inserts the batch the fastest way. What is stored already is looked for and left out, before
    /// where the batch is redelivered, and otherwise once it has turned out to be in the way.
    pub(super) fn insert<C: Backend>(
        &mut self,
        conn: &mut C,
        mut entries: Vec<&EntryToStore>,
    ) -> QueryResult<()> {
        if self.begun.is_redelivered {
            self.leave_out_stored(conn, &mut entries)?;
        }
        match self.insert_new(conn, &entries)? {
            Some(refusal) => self.sort_out(conn, entries, &refusal),
            None => Ok(()),
        }
    }

    /// Inserts the batch without a savepoint: what is in the way ends the transaction.
    pub(super) fn insert_at_once<C: Backend>(
        &mut self,
        conn: &mut C,
        entries: &[EntryToStore],
    ) -> QueryResult<()> {
        let entries: Vec<_> = entries.iter().collect();
        self.insert_all(conn, &entries, self.fastest())?;
        self.tally.stored += entries.len();
        Ok(())
    }

    /// Inserts what can be inserted of a batch that was refused as a whole.
    pub(super) fn sort_out<C: Backend>(
        &mut self,
        conn: &mut C,
        mut entries: Vec<&EntryToStore>,
        refusal: &Error,
    ) -> QueryResult<()> {
        if is_unique_violation(refusal)
            && self.leave_out_stored(conn, &mut entries)? > 0
            && self.insert_new(conn, &entries)?.is_none()
        {
            return Ok(());
        }
        self.insert_halves(conn, &entries)
    }

    /// Inserts all of them, or says what is in the way.
    fn insert_new<C: Backend>(
        &mut self,
        conn: &mut C,
        entries: &[&EntryToStore],
    ) -> QueryResult<Option<Error>> {
        match self.try_insert(conn, entries, self.fastest()) {
            Ok(()) => Ok(None),
            Err(error) if is_outage(&error) => Err(error),
            Err(refusal) => Ok(Some(refusal)),
        }
    }

    fn fastest<C: Backend>(&self) -> fn(&mut C, &[&EntryToStore]) -> QueryResult<usize> {
        match self.begun.is_as_declared {
            true => C::insert_new,
            false => C::insert_rows,
        }
    }

    /// Inserts all of them, or none. What the database would look at in COMMIT only is looked at
    /// here, where it can be told whom it is about.
    fn try_insert<C: Backend>(
        &mut self,
        conn: &mut C,
        entries: &[&EntryToStore],
        insert: impl FnOnce(&mut C, &[&EntryToStore]) -> QueryResult<usize>,
    ) -> QueryResult<()> {
        conn.transaction(|conn| {
            self.insert_all(conn, entries, insert)?;
            conn.check_deferred()
        })?;
        self.tally.stored += entries.len();
        Ok(())
    }

    /// Inserts all of them, and sees to it that they are there: a trigger may drop rows without a
    /// word, or move them to another table that belongs to this one.
    fn insert_all<C: Backend>(
        &mut self,
        conn: &mut C,
        entries: &[&EntryToStore],
        insert: impl FnOnce(&mut C, &[&EntryToStore]) -> QueryResult<usize>,
    ) -> QueryResult<()> {
        if entries.is_empty() {
            return Ok(());
        }
        let inserted = self.noting(insert(conn, entries))?;
        if inserted < entries.len() {
            let ids: Vec<_> = entries.iter().map(|entry| entry.record.id).collect();
            if conn.stored(&ids)?.len() < ids.len() {
                return Err(dropped());
            }
        }
        Ok(())
    }

    /// Leaves out what is stored already or stands in the batch twice, and says how many those are.
    /// Nothing but a record's own id makes it a duplicate.
    fn leave_out_stored<C: Backend>(
        &mut self,
        conn: &mut C,
        entries: &mut Vec<&EntryToStore>,
    ) -> QueryResult<usize> {
        let before = entries.len();
        // They are in the order of their ids, and those of one id in the order in which they came.
        entries.dedup_by(|later, earlier| {
            let is_twin = later.record.id == earlier.record.id;
            if is_twin {
                self.duplicate(later, Some(&earlier.digest));
            }
            is_twin
        });
        let ids: Vec<_> = entries.iter().map(|entry| entry.record.id).collect();
        let stored = conn.stored(&ids)?;
        entries.retain(|entry| match stored.get(&entry.record.id) {
            Some(digest) => {
                self.duplicate(entry, digest.as_deref());
                false
            }
            None => true,
        });
        Ok(before - entries.len())
    }

    /// A record of this id is stored, or is about to be. It is the same one, or one of the two is not
    /// what its application wrote, and nobody here can tell which.
    fn duplicate(&mut self, entry: &EntryToStore, stored: Option<&[u8]>) {
        if entry.is_stored_as(stored) {
            self.tally.duplicates += 1;
        } else {
            self.refuse(entry, CONTRADICTION);
            self.contradicting
                .extend(self.refused.last().map(Refused::id));
        }
    }

    /// Inserts them; where that is refused, halves the batch until the record that cannot be stored
    /// is found.
    fn insert_halves<C: Backend>(
        &mut self,
        conn: &mut C,
        entries: &[&EntryToStore],
    ) -> QueryResult<()> {
        match self.try_insert(conn, entries, C::insert_rows) {
            Ok(()) => Ok(()),
            Err(error) if is_outage(&error) => Err(error),
            Err(error) => match entries {
                [] => Err(error),
                [entry] => self.confirm(conn, entry, error),
                _ => {
                    let (left, right) = entries.split_at(entries.len() / 2);
                    self.insert_halves(conn, left)?;
                    self.insert_halves(conn, right)
                }
            },
        }
    }

    /// Quarantines a record once it is sure that the record is what cannot be stored: it is not
    /// there, the table takes another row, and does not take this one even when asked again. A record
    /// that is there may be refused for another reason than that, such as by a trigger.
    fn confirm<C: Backend>(
        &mut self,
        conn: &mut C,
        entry: &EntryToStore,
        error: Error,
    ) -> QueryResult<()> {
        let stored = match conn.stored(&[entry.record.id]) {
            Err(unreadable) if !is_outage(&unreadable) => {
                return Err(TableRefusesAll::error("audit_logs", &error));
            }
            stored => stored?,
        };
        if let Some(digest) = stored.get(&entry.record.id) {
            self.duplicate(entry, digest.as_deref());
            return Ok(());
        }
        if !takes_others(conn, entry)? {
            return Err(TableRefusesAll::error("audit_logs", &error));
        }
        match self.try_insert(conn, &[entry], C::insert_rows) {
            Ok(()) => Ok(()),
            Err(error) if is_outage(&error) => Err(error),
            Err(error) => {
                self.refuse(entry, &error.to_string());
                Ok(())
            }
        }
    }

    fn noting(&mut self, inserted: QueryResult<usize>) -> QueryResult<usize> {
        if let Err(Error::DatabaseError(DatabaseErrorKind::ClosedConnection, said)) = &inserted {
            let said = Box::new(said.message().to_owned());
            let kind = DatabaseErrorKind::ClosedConnection;
            self.cause.get_or_insert(Error::DatabaseError(kind, said));
        }
        inserted
    }

    fn refuse(&mut self, entry: &EntryToStore, reason: &str) {
        self.refused.push(Refused::new(&entry.payload, reason));
    }
}

fn is_unique_violation(error: &Error) -> bool {
    matches!(
        error,
        Error::DatabaseError(DatabaseErrorKind::UniqueViolation, _)
    )
}
