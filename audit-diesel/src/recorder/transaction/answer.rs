//! How a query was answered, and what follows for the transaction.

use diesel::result::Error;

use super::doubt::Doubt;
use super::open::Open;
use super::{Dialect, Ended, TransactionBuffer};
use crate::recorder::control::Control;

/// How a query was answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::recorder) enum Answer {
    /// The database did it.
    Done,
    /// The database refused it.
    Refused,
    /// The connection was lost: it may have been done.
    Lost,
    /// An error on this side; what the database did is not known from it.
    Local,
}

const EMPTY_QUERY: &str = "Received an empty query";

/// How a failed query left the transaction.
impl From<Option<&Error>> for Answer {
    fn from(error: Option<&Error>) -> Self {
        use diesel::result::DatabaseErrorKind::{ClosedConnection, UnableToSendCommand};
        match error {
            None => Self::Done,
            Some(Error::DatabaseError(ClosedConnection | UnableToSendCommand, _)) => Self::Lost,
            // Diesel's own error for a query without a statement in it.
            Some(Error::DatabaseError(_, info)) if info.message() == EMPTY_QUERY => Self::Local,
            Some(Error::DatabaseError(..)) => Self::Refused,
            // Such an error arose on this side, before or after the database did its part.
            Some(_) => Self::Local,
        }
    }
}

impl Open {
    /// Sets the savepoints that a failed batch begins with: they cannot be what failed.
    fn set_first(&mut self, controls: &[Control]) {
        for control in controls {
            match control {
                Control::Savepoint(name) => self.savepoint(name),
                _ => break,
            }
        }
    }

    /// How many of the records held here are left if the batch was run up to its COMMIT. None is
    /// added within it, so that its own savepoints take nothing back.
    fn kept_at_commit(&self, controls: &[Control], dialect: Dialect) -> usize {
        let mut kept = self.payloads.len();
        let mut own = Vec::new();
        for control in controls {
            match control {
                Control::Commit { .. } | Control::Prepare => break,
                Control::Savepoint(name) => own.push(name),
                Control::RollbackTo(name) if !own.contains(&name) => {
                    let at = self.find(name, dialect);
                    kept = at.map_or(kept, |at| kept.min(self.held_before(at)));
                }
                _ => {}
            }
        }
        kept
    }

    /// What is left of it if the batch was run up to its COMMIT.
    fn run_to_commit(mut self, controls: &[Control], dialect: Dialect) -> Self {
        for control in controls {
            match control {
                Control::Commit { .. } | Control::Prepare => break,
                Control::Savepoint(name) => self.savepoint(name),
                Control::RollbackTo(name) => drop(self.rollback_to(name, dialect)),
                _ => {}
            }
        }
        self
    }
}

impl TransactionBuffer {
    /// A query without transaction control was answered.
    pub(in crate::recorder) fn answered(&mut self, answer: Answer, own: bool) -> Option<Ended> {
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

    /// One of several statements failed, and nobody says which.
    pub(in crate::recorder) fn batch_failed(
        &mut self,
        controls: &[Control],
        answer: Answer,
        read_whole: bool,
    ) -> Option<Ended> {
        let has = |found: fn(&Control) -> bool| controls.iter().any(found);
        if self.dialect == Dialect::Sqlite && has(|c| matches!(c, Control::Begin)) {
            self.open.get_or_insert_with(|| Open::new(false));
        }
        let open = self.open.as_mut()?;
        open.had_failure = true;
        open.unsure_of_savepoints = true;
        if answer == Answer::Refused && read_whole && !open.aborted {
            open.set_first(controls);
        }
        let commits = has(|c| matches!(c, Control::Commit { .. } | Control::Prepare))
            || (open.opened_by_savepoint && has(|c| matches!(c, Control::Release(_))));
        match answer {
            Answer::Local => return None,
            Answer::Lost if commits => {
                let open = self.open.take();
                return open.map(|open| Ended::InDoubt(open.run_to_commit(controls, self.dialect)));
            }
            Answer::Lost => return None,
            Answer::Refused | Answer::Done => open.aborted = true,
        }
        if commits {
            let kept = open.kept_at_commit(controls, self.dialect);
            open.doubt = Some(Doubt::Committed { kept });
        } else if self.dialect == Dialect::Sqlite || has(|c| matches!(c, Control::Rollback { .. }))
        {
            open.doubt.get_or_insert(Doubt::RolledBack);
        }
        None
    }
}
