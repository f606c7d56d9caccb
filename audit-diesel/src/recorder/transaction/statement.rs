//! The records of one statement on their way into the buffer.

use audit_core::{Payload, TransactionRef};

use super::TransactionBuffer;
use super::open::Open;

/// The records of one statement on their way into the buffer.
pub(in crate::recorder) struct Statement<'a> {
    buffer: &'a mut TransactionBuffer,
    /// Outside of a transaction a statement is its own.
    autocommit: bool,
}

impl TransactionBuffer {
    /// Collects the records of one statement.
    pub(in crate::recorder) fn statement(&mut self, xid: Option<i64>) -> Statement<'_> {
        let autocommit = self.open.is_none();
        let open = self.open.get_or_insert_with(|| Open::new(false));
        open.xid = open.xid.or(xid);
        Statement {
            buffer: self,
            autocommit,
        }
    }
}

impl Statement<'_> {
    /// The transaction and the place in it of the record that comes next.
    pub(in crate::recorder) fn next_ref(&mut self) -> TransactionRef {
        let open = self.buffer.open.get_or_insert_with(|| Open::new(false));
        // Counted, so that a rollback to a savepoint leaves no gap.
        TransactionRef {
            id: open.id,
            seq: open.records,
        }
    }

    /// Counts a record that is written elsewhere.
    pub(in crate::recorder) fn pass(&mut self) {
        let open = self.buffer.open.get_or_insert_with(|| Open::new(false));
        open.records = open.records.saturating_add(1);
    }

    pub(in crate::recorder) fn push(&mut self, payload: Payload) {
        self.pass();
        let open = self.buffer.open.get_or_insert_with(|| Open::new(false));
        open.bytes += payload.as_bytes().len();
        open.payloads.push(payload);
    }

    /// The records to publish now: those of a statement that was its own transaction.
    pub(in crate::recorder) fn finish(self) -> Option<Vec<Payload>> {
        if !self.autocommit {
            return None;
        }
        self.buffer.open.take().map(|open| open.payloads)
    }
}

impl Drop for Statement<'_> {
    /// A statement that fails half-way must not leave a transaction open that is none.
    fn drop(&mut self) {
        if self.autocommit {
            self.buffer.open = None;
        }
    }
}
