//! A transaction that may have ended unseen.

use super::open::Open;
use super::{Dialect, Ended, TransactionBuffer};

/// How a transaction ended, if it ended unseen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Doubt {
    /// By a COMMIT in a batch of which another statement failed. So many records were left then.
    Committed {
        kept: usize,
    },
    RolledBack,
}

impl Doubt {
    /// The same for an auditor that holds no records of the transaction.
    pub(super) fn without_records(self) -> Self {
        match self {
            Self::Committed { .. } => Self::Committed { kept: 0 },
            Self::RolledBack => Self::RolledBack,
        }
    }
}

impl Open {
    /// It turned out that the transaction ended before.
    pub(super) fn ended_unseen(mut self, dialect: Dialect) -> Ended {
        let Some(Doubt::Committed { kept }) = self.doubt else {
            return Ended::RolledBack(self);
        };
        self.payloads.truncate(kept);
        match dialect {
            // SQLite's COMMIT leaves the transaction open where it fails.
            Dialect::Sqlite => Ended::Committed(self),
            // In PostgreSQL it may be that very COMMIT that failed.
            Dialect::Postgres => Ended::InDoubt(self),
        }
    }
}

impl TransactionBuffer {
    /// Whether only the database knows if the transaction is open.
    ///
    /// SQLite ends a transaction by itself where a statement says `OR ROLLBACK`, where a trigger
    /// says `RAISE(ROLLBACK)`, and on errors such as a full disk.
    pub(in crate::recorder) fn may_have_ended(&self) -> bool {
        self.open.as_ref().is_some_and(|open| open.doubt.is_some())
    }

    /// Something failed that may have ended the transaction.
    pub(super) fn doubt(&mut self) {
        if let Some(open) = &mut self.open {
            open.doubt.get_or_insert(Doubt::RolledBack);
        }
    }

    /// As [`doubt`](Self::doubt), where an error may end a transaction.
    pub(in crate::recorder) fn doubt_on_sqlite(&mut self) {
        if self.dialect == Dialect::Sqlite {
            self.doubt();
        }
    }

    /// The database says that the transaction is open.
    pub(in crate::recorder) fn still_open(&mut self) {
        if let Some(open) = &mut self.open {
            open.doubt = None;
        }
    }

    /// The database says that no transaction is open.
    pub(in crate::recorder) fn ended_unseen(&mut self) -> Option<Ended> {
        let dialect = self.dialect;
        let open = self.open.take()?;
        Some(open.ended_unseen(dialect).unproven())
    }
}
