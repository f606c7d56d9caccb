//! The records of one statement on their way into the buffer.

use audit_core::{Payload, TransactionRef};

use super::{Dialect, Open, TransactionBuffer};

impl TransactionBuffer {
    /// The place of the record that comes next, once the statement that is about to run has
    /// succeeded. None where that is a transaction of its own.
    pub(in crate::recorder) fn upcoming(&self) -> Option<TransactionRef> {
        let doubt = self.open.as_ref().is_some_and(|open| open.doubt.is_some());
        match (self.dialect, doubt) {
            // An answer will say that the transaction has ended unseen.
            (Dialect::Postgres, true) => None,
            _ => self.place(),
        }
    }

    /// The place in the open transaction of a record that comes now.
    pub(in crate::recorder) fn place(&self) -> Option<TransactionRef> {
        // Counted, so that a rollback to a savepoint leaves no gap.
        self.open.as_ref().map(|open| TransactionRef {
            id: open.id,
            seq: open.records,
        })
    }

    /// Notes the database's id of the open transaction.
    pub(in crate::recorder) fn note_xid(&mut self, xid: Option<i64>) {
        if xid.is_some() && self.open.is_none() && xid == self.perhaps_open {
            // Its COMMIT did not reach the database: what is written now belongs to it as well.
            self.open = Some(Open::of_depth(1));
        }
        if let Some(open) = &mut self.open {
            open.xid = open.xid.or(xid);
        }
    }

    /// Counts records that are written elsewhere.
    pub(in crate::recorder) fn pass(&mut self, records: usize) {
        if let Some(open) = &mut self.open {
            let records = u32::try_from(records).unwrap_or(u32::MAX);
            open.records = open.records.saturating_add(records);
        }
    }

    /// Keeps the records of a statement until COMMIT. Those of one that was a transaction of its
    /// own are given back, to be published now.
    pub(in crate::recorder) fn keep(&mut self, payloads: Vec<Payload>) -> Option<Vec<Payload>> {
        self.pass(payloads.len());
        let Some(open) = &mut self.open else {
            return Some(payloads);
        };
        open.bytes += payloads.iter().map(|p| p.as_bytes().len()).sum::<usize>();
        match open.payloads.is_empty() {
            true => open.payloads = payloads,
            false => open.payloads.extend(payloads),
        }
        None
    }
}
