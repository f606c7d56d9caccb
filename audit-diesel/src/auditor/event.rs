//! Records events that no statement has made.

use audit_core::{AuditEvent, Payload, Record};

use super::{AuditedBackend, Auditor};
use crate::AuditError;
use crate::connection::AuditedConnection;
use crate::delivery::{self, Delivery};

impl Auditor {
    /// Records an event at once, in the context in force, or the one where it was built. It goes to the
    /// queue in every mode, as there is no connection to write it through. An event that is too large is
    /// recorded with sizes in place of its details.
    ///
    /// # Errors
    ///
    /// When a context is required and there is none, and when
    /// the queue does not take it: then it is not recorded. [`AuditError::NoQueue`] where the
    /// auditor has none.
    pub fn record(&self, event: AuditEvent) -> Result<(), AuditError> {
        let _context = event.built_in().enter();
        self.check_queue()?;
        Ok(self.push_one(&self.encode_event(event)?)?)
    }

    /// Records an event with the connection's transaction, in the auditor's delivery mode: if the
    /// transaction is rolled back, so is the event. Outside of a transaction it is recorded at once.
    ///
    /// # Errors
    ///
    /// As [`record`](Self::record), and [`AuditError::NoAuditor`] on a connection that this
    /// auditor is not attached to. With [`Delivery::AfterCommit`], inside a transaction, a queue
    /// that fails later is counted in [`stats`](Self::stats), as it is for statements. With
    /// [`Delivery::Transactional`] the database may refuse it; inside a transaction, roll that
    /// back then.
    pub fn record_in<C>(&self, conn: &mut C, event: AuditEvent) -> Result<(), AuditError>
    where
        C: AuditedConnection,
        C::Backend: AuditedBackend,
    {
        let _context = event.built_in().enter();
        let conn = conn.raw();
        self.recorder_of(conn)?;
        let delivery = delivery::ready(conn, None)?;
        let in_transaction = self.recorder_of(conn)?.in_transaction();
        if delivery == Delivery::AfterCommit && !in_transaction {
            return self.record(event);
        }
        let record = Record::from_event(event, self.context()?);
        delivery::event(conn, record, delivery)
    }

    fn encode_event(&self, event: AuditEvent) -> Result<Payload, AuditError> {
        self.encode(Record::from_event(event, self.context()?))
    }
}
