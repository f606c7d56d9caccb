//! What the auditor puts on a connection: it holds the records of the running transaction until
//! the database has decided.

mod control;
mod transaction;

use audit_core::{AuditContext, Record, Unsettled};
use diesel::connection::{Connection, Instrumentation, InstrumentationEvent};
use diesel::result::Error;

use crate::AuditError;
use crate::auditor::Auditor;
use control::Control;
pub(crate) use transaction::Dialect;
use transaction::{Answer, Ended, TransactionBuffer};

/// The auditor's part on a connection, put there as Diesel's `Instrumentation`.
pub(crate) struct Recorder {
    auditor: Auditor,
    /// What was to see the events before the auditor came.
    chained: Option<Box<dyn Instrumentation>>,
    transaction: TransactionBuffer,
    /// What the query that runs now does to the transaction.
    running: Vec<Control>,
    /// Set while an audited statement runs: its SQL needs no reading.
    own_statement: bool,
}

impl Recorder {
    pub(crate) fn new(
        auditor: Auditor,
        dialect: Dialect,
        chained: Option<Box<dyn Instrumentation>>,
    ) -> Self {
        let max_bytes = auditor.max_transaction_bytes();
        Self {
            auditor,
            chained,
            transaction: TransactionBuffer::new(dialect, max_bytes),
            running: Vec::new(),
            own_statement: false,
        }
    }

    /// The recorder of this connection.
    pub(crate) fn of<C: Connection>(conn: &mut C) -> Option<&mut Self> {
        conn.instrumentation().downcast_mut::<Self>()
    }

    pub(crate) fn auditor(&self) -> &Auditor {
        &self.auditor
    }

    pub(crate) fn in_transaction(&self) -> bool {
        self.transaction.is_open()
    }

    /// The context that records made now get.
    pub(crate) fn context(&self) -> Result<AuditContext, AuditError> {
        self.auditor.context()
    }

    /// Says whether the queries that follow are ours.
    pub(crate) fn set_own_statement(&mut self, own: bool) {
        self.own_statement = own;
    }

    /// Takes the records of one statement: kept until COMMIT in a transaction, published at once
    /// outside of one, where the statement was a transaction of its own.
    pub(crate) fn record(
        &mut self,
        records: impl IntoIterator<Item = Record>,
        xid: Option<i64>,
    ) -> Result<(), AuditError> {
        let mut statement = self.transaction.statement(xid);
        for mut record in records {
            record.transaction = Some(statement.next_ref());
            if let Some(payload) = self.auditor.encode_change(record) {
                statement.push(payload)?;
            }
        }
        if let Some(payloads) = statement.finish() {
            self.auditor.publish(&payloads);
        }
        Ok(())
    }

    fn observe(&mut self, event: &InstrumentationEvent<'_>) {
        match event {
            InstrumentationEvent::StartQuery { query, .. } => {
                self.running.clear();
                if !self.own_statement {
                    control::read(*query, &mut self.running);
                }
            }
            InstrumentationEvent::FinishQuery { error, .. } => {
                let answer = Answer::from(*error);
                let controls = std::mem::take(&mut self.running);
                self.finished(&controls, answer);
            }
            _ => {}
        }
    }

    fn finished(&mut self, controls: &[Control], answer: Answer) {
        if controls.is_empty() {
            self.transaction.answered(answer);
        }
        for control in controls {
            match self.transaction.controlled(control, answer) {
                Some(Ended::Committed(payloads)) => self.auditor.publish(&payloads),
                Some(Ended::InDoubt { payloads, xid }) => self.publish_unsettled(&payloads, xid),
                Some(Ended::RolledBack { records }) => self.auditor.discarded(records),
                None => {}
            }
        }
    }

    /// The connection was lost during COMMIT: only the database knows. The record travels with
    /// the transaction's id, and whoever stores it asks.
    fn publish_unsettled(&self, payloads: &[audit_core::Payload], xid: Option<i64>) {
        match xid {
            Some(xid) => {
                let mark = Unsettled { xid };
                let marked: Vec<_> = payloads.iter().map(|p| p.unsettled(mark)).collect();
                self.auditor.publish(&marked);
            }
            // Without an id nobody can be asked: keep the record rather than lose it.
            None => self.auditor.publish(payloads),
        }
    }
}

impl Instrumentation for Recorder {
    fn on_connection_event(&mut self, event: InstrumentationEvent<'_>) {
        self.observe(&event);
        if let Some(chained) = &mut self.chained {
            chained.on_connection_event(event);
        }
    }
}

impl Drop for Recorder {
    /// The connection closes, and the database rolls an open transaction back.
    fn drop(&mut self) {
        if let Some(Ended::RolledBack { records }) = self.transaction.closed() {
            self.auditor.discarded(records);
        }
    }
}

/// How a failed query left the transaction.
impl From<Option<&Error>> for Answer {
    fn from(error: Option<&Error>) -> Self {
        use diesel::result::DatabaseErrorKind::{ClosedConnection, UnableToSendCommand};
        match error {
            None => Self::Done,
            Some(Error::DatabaseError(ClosedConnection | UnableToSendCommand, _)) => Self::Lost,
            Some(Error::DatabaseError(..)) => Self::Refused,
            // Such an error arose on this side, before or after the database did its part.
            Some(_) => Self::Local,
        }
    }
}
