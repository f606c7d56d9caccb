//! Takes the records of a statement, in the way that their delivery asks for.

use audit_core::{Payload, Record};

use super::Recorder;
use crate::AuditError;
use crate::auditor::PreparedFor;

impl Recorder {
    /// Takes the records of one statement: kept until COMMIT in a transaction, published at once
    /// outside of one, where the statement was a transaction of its own.
    ///
    /// The changes are made, so all records are kept, even where they are too many; then the
    /// statement fails, and the next one is refused before it writes.
    pub(crate) fn record(
        &mut self,
        records: impl IntoIterator<Item = Record>,
        xid: Option<i64>,
    ) -> Result<(), AuditError> {
        let mut statement = self.transaction.statement(xid);
        for mut record in records {
            record.transaction = Some(statement.next_ref());
            if let Some(payload) = self.auditor.encode_change_or_count(record) {
                statement.push(payload);
            }
        }
        match statement.finish() {
            Some(payloads) => {
                self.auditor.publish(&payloads);
                Ok(())
            }
            None => self.transaction.check_room(),
        }
    }

    /// Takes an event into the open transaction.
    pub(crate) fn record_event(
        &mut self,
        mut record: Record,
        xid: Option<i64>,
    ) -> Result<(), AuditError> {
        let mut statement = self.transaction.statement(xid);
        record.transaction = Some(statement.next_ref());
        statement.push(self.auditor.encode_event_record(record)?);
        if let Some(payloads) = statement.finish() {
            self.auditor.publish(&payloads);
        }
        Ok(())
    }

    /// Encodes the records of one statement that are stored now, in the open transaction.
    pub(crate) fn number(
        &mut self,
        records: impl IntoIterator<Item = Record>,
        xid: Option<i64>,
    ) -> Result<Vec<Payload>, AuditError> {
        let mut statement = self.transaction.statement(xid);
        let mut payloads = Vec::new();
        for mut record in records {
            record.transaction = Some(statement.next_ref());
            payloads.push(self.auditor.encode_change(record)?);
            statement.pass();
        }
        Ok(payloads)
    }

    /// Encodes an event that is stored now.
    pub(crate) fn number_event(&mut self, mut record: Record) -> Result<Payload, AuditError> {
        let mut statement = self.transaction.statement(None);
        record.transaction = Some(statement.next_ref());
        let payload = self.auditor.encode_event_record(record)?;
        statement.pass();
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
        let undo_from = self.transaction.stale_from();
        self.transaction.set_has_prepared();
        let prepared = self.auditor.prepared()?;
        prepared.prepare(&owner, first, undo_from, &payloads)?;
        self.transaction.hold_prepared(payloads);
        self.transaction.check_room()
    }
}
