//! Parts of a committed transaction that were rolled back to a savepoint.

use std::collections::HashMap;

use crate::consumer::{Judge, Ruling, TransactionStatus};
use crate::queue::journal::Journal;

/// What became of the subtransactions of committed transactions.
pub(super) struct Parts {
    /// The subtransactions that wrote, by their transaction.
    of: HashMap<Vec<u8>, Vec<i64>>,
    statuses: HashMap<i64, TransactionStatus>,
}

impl Parts {
    /// To be asked after COMMIT: then no transaction gets more of them.
    pub(super) fn ask(
        journal: &Journal,
        judge: &mut dyn Judge,
        committed: &[&[u8]],
    ) -> Result<Self, String> {
        let mut parts = Self {
            of: HashMap::new(),
            statuses: HashMap::new(),
        };
        if committed.is_empty() {
            return Ok(parts);
        }
        let writers = journal.writers(committed);
        let writers = writers.map_err(|error| error.to_string())?;
        let ids: Vec<_> = writers.iter().map(|(_, writer)| *writer).collect();
        if !ids.is_empty() {
            parts.statuses = judge.statuses(ids)?;
        }
        for (transaction, writer) in writers {
            parts.of.entry(transaction).or_default().push(writer);
        }
        Ok(parts)
    }

    /// The ruling on a transaction, with what is known of its parts.
    pub(super) fn refine(&self, transaction: &[u8], ruling: Ruling) -> Ruling {
        let Ruling::Committed { mut undone } = ruling else {
            return ruling;
        };
        for writer in self.of.get(transaction).into_iter().flatten() {
            match self.statuses.get(writer) {
                Some(TransactionStatus::Committed) => {}
                Some(TransactionStatus::Aborted) => undone.push(*writer),
                Some(TransactionStatus::InProgress) => return Ruling::InProgress,
                Some(TransactionStatus::Unknown) | None => {
                    return Ruling::Unknowable(format!(
                        "the transaction was committed, and PostgreSQL cannot tell (any more) \
                         whether a part of it, {writer}, was rolled back to a savepoint before"
                    ));
                }
            }
        }
        Ruling::Committed { undone }
    }
}
