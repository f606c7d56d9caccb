//! What transaction control does to the open transaction, and how one ends.

use uuid::Uuid;

use super::open::Open;
use super::{Answer, Dialect, TransactionBuffer};
use crate::recorder::control::Control;

/// A transaction that has ended, with its records.
#[derive(Debug)]
pub(in crate::recorder) enum Ended {
    Committed(Open),
    RolledBack(Open),
    /// The database knows, and has to be asked.
    InDoubt(Open),
    /// It goes on, without what was recorded since a savepoint.
    Undone(Undone),
}

/// What a rollback to a savepoint took back.
#[derive(Debug)]
pub(in crate::recorder) struct Undone {
    pub(in crate::recorder) records: usize,
    pub(in crate::recorder) transaction: Uuid,
    /// The place of the first record that is gone, where one of those was prepared.
    pub(in crate::recorder) prepared_from: Option<u32>,
}

impl Ended {
    /// The same, where a rollback is not proven: the database is asked, where it can be.
    pub(in crate::recorder) fn unproven(self) -> Self {
        match self {
            Self::RolledBack(open) if open.xid.is_some() => Self::InDoubt(open),
            other => other,
        }
    }
}

impl TransactionBuffer {
    /// A query with transaction control was answered.
    pub(in crate::recorder) fn controlled(
        &mut self,
        control: &Control,
        answer: Answer,
    ) -> Option<Ended> {
        if let (Answer::Local, Some(open)) = (answer, &mut self.open) {
            open.unsure_of_savepoints = true;
        }
        match control {
            Control::Commit { chain } => self.commit(answer, *chain),
            Control::Rollback { chain } => self.rollback(answer, *chain),
            Control::Prepare if matches!(answer, Answer::Done | Answer::Lost) => {
                self.open.take().map(Ended::InDoubt)
            }
            Control::Prepare if answer.is_error() => {
                // It ends the transaction where it fails, unless it could not be read.
                let ended = self.answered(answer, false);
                self.doubt();
                ended
            }
            _ if answer != Answer::Done => {
                if answer == Answer::Unproven {
                    self.unproven_savepoint(control);
                }
                self.answered(answer, false)
            }
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
            Control::CopyOut => {
                let ended = self.answered(answer, false);
                if let Some(open) = &mut self.open {
                    open.unheard = true;
                }
                ended
            }
            Control::Prepare | Control::Other => self.answered(answer, false),
        }
    }

    /// The connection is gone for sure, and with it an open transaction; or perhaps only the
    /// recorder is, and the database has to be asked where it can be.
    pub(in crate::recorder) fn closed(&mut self, surely: bool) -> Option<Ended> {
        let mut open = self.open.take()?;
        open.had_failure = true;
        let ended = open.ended_unseen(self.dialect);
        Some(match surely {
            true => ended,
            false => ended.unproven(),
        })
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
            Answer::Unproven => {
                // Where it did not reach the database, the transaction is still open.
                self.perhaps_open = open.xid;
                Ended::RolledBack(open).unproven()
            }
            Answer::Done if self.dialect == Dialect::Sqlite => Ended::Committed(open),
            Answer::Done if open.aborted_surely => open.ended_unseen(self.dialect),
            Answer::Done if open.aborted => open.ended_unseen(self.dialect).unproven(),
            Answer::Done if open.unheard => Ended::InDoubt(open),
            Answer::Done => Ended::Committed(open),
        })
    }

    fn rollback(&mut self, answer: Answer, chain: bool) -> Option<Ended> {
        let open = self.end(answer, chain)?;
        // SQLite rolls back what is open, and refuses where nothing is.
        if answer == Answer::Done && self.dialect == Dialect::Sqlite {
            return Some(Ended::RolledBack(open));
        }
        let ended = open.ended_unseen(self.dialect);
        Some(match answer {
            Answer::Done => ended,
            _ => ended.unproven(),
        })
    }

    /// The savepoint may have been set or released all the same. To take one that is not there for
    /// one that is loses no record; in a transaction that is aborted there is no new one.
    fn unproven_savepoint(&mut self, control: &Control) {
        let Some(open) = self.open.as_mut().filter(|open| !open.aborted) else {
            return;
        };
        match control {
            Control::Savepoint(name) => open.savepoint(name),
            Control::Release(_) | Control::RollbackTo(_) => {}
            _ => return,
        }
        open.unsure_of_savepoints = true;
    }

    fn release(&mut self, name: &str) -> Option<Ended> {
        let dialect = self.dialect;
        let open = self.open.as_mut()?;
        let at = open
            .find(name, dialect)
            .or_else(|| open.unknown_savepoint())?;
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
