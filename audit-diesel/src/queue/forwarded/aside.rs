//! Where records are kept for which the target ends its connection.

use crate::consumer::Judge;
use crate::queue::forward::Aside;
use crate::queue::journal::Journal;
use crate::store::Refused;

/// The best place that there is.
pub(super) enum Kept {
    /// The quarantine of the database.
    In(Box<dyn Judge>),
    /// The journal's own file.
    Here(Journal),
}

impl Aside for Kept {
    fn put(&mut self, refused: Refused) -> Result<(), String> {
        match self {
            Self::In(judge) => judge.quarantine(vec![refused]),
            Self::Here(journal) => journal.quarantine(&refused).map_err(|e| e.to_string()),
        }
    }
}
