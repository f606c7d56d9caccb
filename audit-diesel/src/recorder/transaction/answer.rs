//! How a query was answered, and what follows for the transaction.

use diesel::result::{DatabaseErrorKind, Error};

use super::doubt::Doubt;
use super::open::Open;
use super::{Dialect, Ended, TransactionBuffer};
use crate::recorder::control::Control;

/// How a query was answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::recorder) enum Answer {
    /// The database did it.
    Done,
    /// The database refused it, for a reason that only its own rules give.
    Refused,
    /// An error that did not have to come from the database, such as that of a pooler between: most
    /// likely it was refused, and it may have been done.
    Unproven,
    /// The connection was lost: it may have been done.
    Lost,
    /// An error on this side; what the database did is not known from it.
    Local,
}

const EMPTY_QUERY: &str = "Received an empty query";

impl Answer {
    /// How a query was answered that failed with this, or with nothing.
    pub(in crate::recorder) fn of(error: Option<&Error>, dialect: Dialect) -> Self {
        use DatabaseErrorKind::{ClosedConnection, UnableToSendCommand};
        match error {
            None => Self::Done,
            Some(Error::DatabaseError(ClosedConnection | UnableToSendCommand, _)) => Self::Lost,
            // Diesel's own error for a query without a statement in it.
            Some(Error::DatabaseError(_, info)) if info.message() == EMPTY_QUERY => Self::Local,
            Some(Error::DatabaseError(kind, _)) if is_proof(kind, dialect) => Self::Refused,
            Some(Error::DatabaseError(..)) => Self::Unproven,
            // Such an error arose on this side, before or after the database did its part.
            Some(_) => Self::Local,
        }
    }

    /// Whether the query failed, as far as this side was told.
    pub(in crate::recorder) fn is_error(self) -> bool {
        matches!(self, Self::Refused | Self::Unproven)
    }
}

/// Whether only the database itself can have answered so. Nothing is between SQLite and us; between
/// PostgreSQL and us there may be a pooler or a load balancer, and those do not check constraints and
/// do not order transactions. Diesel keeps the SQLSTATE of no other error.
fn is_proof(kind: &DatabaseErrorKind, dialect: Dialect) -> bool {
    use DatabaseErrorKind::{
        CheckViolation, ExclusionViolation, ForeignKeyViolation, NotNullViolation,
        RestrictViolation, SerializationFailure, UniqueViolation,
    };
    let is_of_rules = matches!(
        kind,
        UniqueViolation
            | ForeignKeyViolation
            | NotNullViolation
            | CheckViolation
            | RestrictViolation
            | ExclusionViolation
            | SerializationFailure
    );
    is_of_rules || dialect == Dialect::Sqlite
}

impl Open {
    /// Sets the savepoints of a failed batch: any of them may be in force, and to take one that is
    /// not for one that is loses no record.
    fn set_savepoints(&mut self, controls: &[Control]) {
        for control in controls {
            match control {
                Control::Savepoint(name) => self.savepoint(name),
                Control::Commit { .. } | Control::Rollback { .. } | Control::Prepare => break,
                _ => {}
            }
        }
    }

    /// Whether it is a COMMIT that ends the transaction first, where the batch is run so far.
    fn is_committed_by(&self, controls: &[Control], dialect: Dialect) -> bool {
        let commits = controls.iter().find_map(|control| match control {
            Control::Commit { .. } | Control::Prepare => Some(true),
            Control::Rollback { .. } => Some(false),
            Control::Release(name) if self.opened_by_savepoint => {
                (self.find(name, dialect) == Some(0)).then_some(true)
            }
            _ => None,
        });
        commits.unwrap_or(false)
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

fn is_of_savepoints(control: &Control) -> bool {
    use Control::{Release, RollbackTo, Savepoint};
    matches!(control, Savepoint(_) | Release(_) | RollbackTo(_))
}

fn rolls_back(control: &Control) -> bool {
    matches!(control, Control::Rollback { .. })
}

/// The transaction that a failed batch may have begun.
fn begun_by(controls: &[Control], dialect: Dialect) -> Option<Open> {
    let mut begun = controls.iter().find_map(|control| match control {
        Control::Begin => Some(Open::new(false)),
        Control::Savepoint(_) if dialect == Dialect::Sqlite => Some(Open::new(true)),
        _ => None,
    })?;
    begun.doubt = Some(Doubt::RolledBack);
    Some(begun)
}

impl TransactionBuffer {
    /// A query without transaction control was answered.
    pub(in crate::recorder) fn answered(&mut self, answer: Answer, own: bool) -> Option<Ended> {
        let open = self.open.as_mut()?;
        open.had_failure |= answer != Answer::Done;
        match (self.dialect, answer) {
            (Dialect::Postgres, Answer::Refused) => open.abort(true),
            (Dialect::Postgres, Answer::Unproven) => open.abort(false),
            // An aborted transaction answers nothing, so it is not aborted (any more).
            (Dialect::Postgres, Answer::Done) if open.doubt.is_some() => {
                return self.ended_unseen();
            }
            (Dialect::Postgres, Answer::Done) => {
                open.usable();
            }
            // For a query that loads rows Diesel says `Done` also where it failed.
            (Dialect::Sqlite, _) if !own => self.doubt(),
            _ => {}
        }
        None
    }

    /// Whether the database does this now for sure (true) or refuses it for sure (false).
    pub(in crate::recorder) fn foreseen(&self, control: &Control) -> Option<bool> {
        use Control::{Begin, Commit, Other, Release, Rollback, RollbackTo, Savepoint};

        let sqlite = self.dialect == Dialect::Sqlite;
        let Some(open) = &self.open else {
            return match control {
                Begin => Some(true),
                Savepoint(_) => Some(sqlite),
                // PostgreSQL warns.
                Commit { .. } | Rollback { .. } => sqlite.then_some(false),
                Release(_) | RollbackTo(_) => Some(false),
                _ => None,
            };
        };
        match open.doubt {
            None => {}
            // Had it ended, it was rolled back: its records go in either case.
            Some(Doubt::RolledBack) if sqlite => {}
            Some(_) => return None,
        }
        let known = |name: &str| open.find(name, self.dialect);
        match control {
            Rollback { .. } => Some(true),
            RollbackTo(_) if open.unsure_of_savepoints => None,
            RollbackTo(name) => Some(known(name).is_some()),
            Begin | Savepoint(_) | Release(_) | Other if self.refuses_all() => Some(false),
            Begin => Some(!sqlite),
            Savepoint(_) => Some(true),
            Release(_) if open.unsure_of_savepoints => None,
            Release(name) => match known(name) {
                // It is a COMMIT.
                Some(0) if open.opened_by_savepoint => None,
                at => Some(at.is_some()),
            },
            _ => None,
        }
    }

    /// Whether the database takes nothing more than a rollback.
    fn refuses_all(&self) -> bool {
        let aborted = self.open.as_ref().is_some_and(|open| open.aborted);
        self.dialect != Dialect::Sqlite && aborted
    }

    /// A text of several statements failed. Which of them did is not known, and those before that one may
    /// have been run.
    pub(in crate::recorder) fn batch_failed(
        &mut self,
        controls: &[Control],
        answer: Answer,
        perhaps_run: bool,
    ) -> Option<Ended> {
        let (dialect, refused_all) = (self.dialect, self.refuses_all());
        if self.open.is_none() {
            self.open = begun_by(controls, dialect);
        }
        let open = self.open.as_mut()?;
        open.had_failure = true;
        open.unsure_of_savepoints |= controls.iter().any(is_of_savepoints);
        let kept = open.kept_at_commit(controls, dialect);
        if perhaps_run && !refused_all {
            open.set_savepoints(controls);
        }
        let commits = open.is_committed_by(controls, dialect);
        match answer {
            Answer::Local => return None,
            Answer::Lost if commits => {
                let open = self.open.take();
                return open.map(|open| Ended::InDoubt(open.run_to_commit(controls, dialect)));
            }
            Answer::Lost => return None,
            Answer::Refused | Answer::Unproven | Answer::Done => open.abort(false),
        }
        if commits {
            open.doubt = Some(Doubt::Committed { kept });
        } else if dialect == Dialect::Sqlite || controls.iter().any(rolls_back) {
            open.doubt.get_or_insert(Doubt::RolledBack);
        }
        None
    }
}
