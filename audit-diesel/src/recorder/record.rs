//! Takes the records of a statement, in the way that their delivery asks for.

use audit_core::{Payload, Record, TransactionRef};
use uuid::Uuid;

use super::Recorder;
use crate::AuditError;
use crate::auditor::PreparedFor;

impl Recorder {
    /// The place of the record that comes next, once the statement that is about to run has
    /// succeeded. None where that is a transaction of its own.
    pub(crate) fn upcoming(&self) -> Option<TransactionRef> {
        self.transaction.upcoming()
    }

    /// Encodes a record that stands in the place that comes next.
    pub(crate) fn number(&self, mut record: Record) -> Result<Payload, AuditError> {
        record.transaction = Some(self.place());
        self.auditor.encode(record)
    }

    /// The place of a record that comes now.
    fn place(&self) -> TransactionRef {
        let place = self.transaction.place();
        place.unwrap_or_else(|| TransactionRef {
            id: Uuid::now_v7(),
            seq: 0,
        })
    }

    /// Takes the records of one statement: kept until COMMIT in a transaction, published at once
    /// outside of one, where the statement was a transaction of its own.
    ///
    /// The changes are made, so all records are kept, even where they are too many; then the
    /// statement fails, and the next one is refused before it writes.
    pub(crate) fn record(
        &mut self,
        payloads: Vec<Payload>,
        xid: Option<i64>,
    ) -> Result<(), AuditError> {
        self.retry_point = None;
        self.transaction.note_xid(xid);
        match self.transaction.keep(payloads) {
            Some(payloads) => {
                self.auditor.publish(&payloads);
                Ok(())
            }
            None => self.transaction.check_room(),
        }
    }

    /// Takes what the guard has noticed.
    pub(super) fn record_noticed(&mut self, records: Vec<Record>) {
        let mut place = self.place();
        let mut payloads = Vec::new();
        for mut record in records {
            record.transaction = Some(place);
            payloads.extend(self.auditor.encode_or_count(record));
            place.seq = place.seq.saturating_add(1);
        }
        // The transaction may be full; the trace is in it all the same.
        let _ = self.record(payloads, None);
    }

    /// Takes an event into the open transaction.
    pub(crate) fn record_event(
        &mut self,
        mut record: Record,
        xid: Option<i64>,
    ) -> Result<(), AuditError> {
        self.retry_point = None;
        record.transaction = Some(self.place());
        let payload = self.auditor.encode(record)?;
        self.transaction.note_xid(xid);
        if let Some(payloads) = self.transaction.keep(vec![payload]) {
            self.auditor.publish(&payloads);
        }
        Ok(())
    }

    /// Counts records that are stored now, in the open transaction.
    pub(crate) fn pass(&mut self, records: usize, xid: Option<i64>) {
        self.retry_point = None;
        self.transaction.note_xid(xid);
        self.transaction.pass(records);
    }

    /// Encodes an event that is stored now.
    pub(crate) fn number_event(&mut self, mut record: Record) -> Result<Payload, AuditError> {
        self.retry_point = None;
        record.transaction = Some(self.place());
        let payload = self.auditor.encode(record)?;
        self.transaction.pass(1);
        Ok(payload)
    }

    /// Writes the records of one statement down, the first of which is numbered `first`, before it
    /// returns: an open transaction's COMMIT cannot be refused any more where that fails. `writer`
    /// is by which id the database knows what they belong to.
    pub(crate) fn prepare(
        &mut self,
        first: u32,
        payloads: Vec<Payload>,
        writer: i64,
    ) -> Result<(), AuditError> {
        self.retry_point = None;
        let identified = self.transaction.identified();
        let (Some((transaction, xid)), Some(origin)) = (identified, &self.server) else {
            return Err(AuditError::PreparedNeedsPostgres);
        };
        let owner = PreparedFor {
            transaction,
            xid,
            writer,
            origin,
        };
        let payloads = self.auditor.signed(&payloads).into_owned();
        let undo_from = self.transaction.stale_from();
        self.transaction.set_has_prepared();
        self.auditor
            .write_down(&owner, first, undo_from, &payloads)?;
        self.transaction.hold_prepared(payloads);
        self.transaction.check_room()
    }
}
