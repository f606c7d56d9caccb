//! What the auditor puts on a connection: it holds the records of the running transaction until
//! the database has decided.

mod control;
mod prepared;
mod transaction;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use audit_core::{AuditContext, Payload, Record, Unsettled};
use diesel::connection::{Connection, DebugQuery, Instrumentation, InstrumentationEvent};
use diesel::result::Error;

use crate::auditor::{Auditor, PreparedFor};
use crate::exempt::Exempt;
use crate::failpoint::failpoint;
use crate::guard::{RawWrite, Watch};
use crate::{AuditError, GuardMode, sql};
use control::Control;
use prepared::PreparedForms;
pub(crate) use transaction::Dialect;
use transaction::{Answer, Ended, Open, TransactionBuffer, Undone};

/// The auditor's part on a connection, put there as Diesel's `Instrumentation`.
pub(crate) struct Recorder {
    auditor: Auditor,
    /// What was to see the events before the auditor came.
    chained: Option<Box<dyn Instrumentation>>,
    transaction: TransactionBuffer,
    /// What the query that runs now does to the transaction.
    running: Vec<Control>,
    /// What the query that runs now has failed with: Diesel may say `Done` of it afterwards.
    failed: bool,
    /// Set while an audited statement runs: its SQL needs no reading.
    own_statement: Arc<AtomicBool>,
    /// Set while we ask the database something that is nobody's business.
    asking: bool,
    /// What the guard knows about this connection.
    watch: Watch,
    /// The writes of the query that runs now which should have been audited.
    raw_writes: Vec<RawWrite>,
    /// Counts the statements of an exempt block.
    exempt: Arc<Exempt>,
    /// Which server the connection is to, once that was asked.
    server: Option<String>,
    /// What the connection keeps prepared of our statements.
    prepared_forms: PreparedForms,
}

/// Says that the queries that run are ours, until it is dropped, by a panic too.
pub(crate) struct OwnStatement(Arc<AtomicBool>);

impl Drop for OwnStatement {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Relaxed);
    }
}

impl Recorder {
    /// A recorder for a connection that Diesel has `depth` transactions open on.
    pub(crate) fn new(
        auditor: Auditor,
        dialect: Dialect,
        depth: u32,
        chained: Option<Box<dyn Instrumentation>>,
    ) -> Self {
        let max_bytes = auditor.max_transaction_bytes();
        Self {
            auditor,
            chained,
            transaction: TransactionBuffer::new(dialect, max_bytes, depth),
            running: Vec::new(),
            failed: false,
            own_statement: Arc::default(),
            asking: false,
            watch: Watch::default(),
            raw_writes: Vec::new(),
            exempt: Arc::default(),
            server: None,
            prepared_forms: PreparedForms::default(),
        }
    }

    /// What counts the statements of exempt blocks on this connection.
    pub(crate) fn exempt(&self) -> &Arc<Exempt> {
        &self.exempt
    }

    /// The recorder of this connection.
    pub(crate) fn of<C: Connection>(conn: &mut C) -> Option<&mut Self> {
        conn.instrumentation().downcast_mut::<Self>()
    }

    /// Checks, before anything is written, that it can be recorded.
    pub(crate) fn ready<C: Connection>(conn: &mut C) -> Result<&mut Self, AuditError> {
        let recorder = Self::of(conn).ok_or(AuditError::NoAuditor)?;
        recorder.auditor.check_context()?;
        if recorder.transaction.may_have_ended() {
            ask_whether_open(conn);
        }
        let recorder = Self::of(conn).ok_or(AuditError::NoAuditor)?;
        recorder.transaction.check_room()?;
        Ok(recorder)
    }

    pub(crate) fn auditor(&self) -> &Auditor {
        &self.auditor
    }

    pub(crate) fn in_transaction(&self) -> bool {
        self.transaction.is_open()
    }

    pub(crate) fn has_xid(&self) -> bool {
        self.transaction.has_xid()
    }

    /// The records that wait for COMMIT.
    pub(crate) fn pending(&self) -> impl Iterator<Item = &Payload> {
        self.transaction.pending()
    }

    /// The context that records made now get.
    pub(crate) fn context(&self) -> Result<AuditContext, AuditError> {
        self.auditor.context()
    }

    /// Says that the queries that follow are ours, while the answer lives.
    fn own_statement(&self) -> OwnStatement {
        self.own_statement.store(true, Ordering::Relaxed);
        OwnStatement(Arc::clone(&self.own_statement))
    }

    /// What the connection keeps prepared of our statements.
    pub(crate) fn prepared_forms(&mut self) -> &mut PreparedForms {
        &mut self.prepared_forms
    }

    /// An audited statement failed: that may have ended the transaction.
    pub(crate) fn statement_failed(&mut self) {
        self.transaction.doubt_on_sqlite();
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

    /// Whether it is not known yet which server the connection is to.
    pub(crate) fn needs_server_identity(&self) -> bool {
        self.server.is_none()
    }

    pub(crate) fn set_server_identity(&mut self, server: String) {
        self.server = Some(server);
    }

    /// Writes the records of one statement down, before it returns: an open transaction's COMMIT
    /// cannot be refused any more where that fails.
    pub(crate) fn prepare(
        &mut self,
        records: impl IntoIterator<Item = Record>,
        xid: Option<i64>,
    ) -> Result<(), AuditError> {
        let first = self.transaction.next_place();
        let payloads = self.number(records, xid)?;
        if payloads.is_empty() {
            return Ok(());
        }
        let identified = self.transaction.identified();
        let (Some((transaction, xid)), Some(origin)) = (identified, &self.server) else {
            return Err(AuditError::PreparedNeedsPostgres);
        };
        let owner = PreparedFor {
            transaction,
            xid,
            origin,
        };
        let undo_from = self.transaction.stale_from();
        self.transaction.set_has_prepared();
        let prepared = self.auditor.prepared()?;
        prepared.prepare(&owner, first, undo_from, &payloads)?;
        self.transaction.hold_prepared(payloads);
        self.transaction.check_room()
    }

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

    fn observe(&mut self, event: &InstrumentationEvent<'_>) {
        match event {
            InstrumentationEvent::StartQuery { query, .. } => {
                self.running.clear();
                self.failed = false;
                self.raw_writes.clear();
                if !self.is_own() {
                    self.read(*query);
                    self.about_to_commit();
                }
                #[cfg(feature = "failpoints")]
                if matches!(self.running[..], [Control::Commit { .. }]) {
                    failpoint!("transaction.before-commit");
                }
            }
            InstrumentationEvent::FinishQuery { error, .. } => {
                let answer = Answer::from(*error);
                if answer == Answer::Done {
                    self.record_raw_writes();
                }
                if !self.failed {
                    let controls = std::mem::take(&mut self.running);
                    self.finished(&controls, answer);
                }
                self.failed |= answer != Answer::Done;
            }
            InstrumentationEvent::CacheQuery { .. } => self.prepared_forms.one_more(),
            _ => {}
        }
    }

    /// Reads what a query is about to do: to the transaction, and to audited tables.
    fn read(&mut self, query: &dyn DebugQuery) {
        let guarded = self
            .auditor
            .guarded_tables()
            .filter(|_| !self.exempt.is_in_force());
        let dialect = self.transaction.dialect();
        let prepared = sql::read(query, |text| {
            control::read(text, &mut self.running);
            if let Some(tables) = guarded {
                let bounds = control::bounds(&self.running);
                self.raw_writes = self.watch.look(text, bounds, tables, dialect);
            }
        });
        if prepared && self.transaction.runs_only_first_of_prepared() {
            self.running.truncate(1);
        }
        if self.running.is_empty() {
            self.exempt.count_statement();
        } else {
            // What a transaction wrote belongs to it, and it is about to end.
            self.record_raw_writes();
        }
        if let (Some(write), GuardMode::Panic) =
            (self.raw_writes.first(), self.auditor.guard_mode())
        {
            let message = write.message();
            self.raw_writes.clear();
            unaudited_write(&message);
        }
    }

    fn record_raw_writes(&mut self) {
        if self.raw_writes.is_empty() || self.auditor.guard_mode() != GuardMode::Record {
            return;
        }
        let context = self.auditor.context_or_unknown();
        let writes = std::mem::take(&mut self.raw_writes);
        self.auditor.unaudited_writes(&writes);
        let records: Vec<_> = writes.iter().map(|w| w.record(context.clone())).collect();
        // The transaction may be full; the trace is in it all the same.
        let _ = self.record(records, None);
    }

    fn is_own(&self) -> bool {
        self.own_statement.load(Ordering::Relaxed)
    }

    fn finished(&mut self, controls: &[Control], answer: Answer) {
        match controls {
            [] => {
                let ended = self.transaction.answered(answer, self.is_own());
                self.settle(ended);
            }
            [_, _, ..] if answer != Answer::Done => {
                let ended = self.transaction.batch_failed(controls, answer);
                self.settle(ended);
            }
            _ => {
                for control in controls {
                    let ended = self.transaction.controlled(control, answer);
                    self.settle(ended);
                }
            }
        }
    }

    fn settle(&mut self, ended: Option<Ended>) {
        match ended {
            Some(Ended::Committed(transaction)) => {
                failpoint!("transaction.committed");
                self.auditor.publish(&transaction.payloads);
                // Where something failed, only the database is believed.
                match transaction.had_failure {
                    true => self.leave_prepared(&transaction),
                    false if !transaction.has_prepared => {}
                    false => self.auditor.release(transaction.id, &transaction.prepared),
                }
            }
            Some(Ended::RolledBack(transaction)) => {
                self.auditor.discarded(transaction.count());
                let certain = transaction.has_prepared && !transaction.had_failure;
                if certain {
                    self.auditor.undo_prepared(transaction.id, 0);
                }
                self.leave_prepared(&transaction);
            }
            Some(Ended::InDoubt(transaction)) => {
                self.publish_unsettled(&transaction.payloads, transaction.xid);
                self.leave_prepared(&transaction);
            }
            Some(Ended::Undone(undone)) => self.undo(&undone),
            None => {}
        }
    }

    fn leave_prepared(&self, transaction: &Open) {
        if transaction.has_prepared {
            self.auditor.leave_prepared(transaction.id);
        }
    }

    fn undo(&mut self, undone: &Undone) {
        self.auditor.discarded(undone.records);
        if let Some(from) = undone.prepared_from {
            let done = self.auditor.undo_prepared(undone.transaction, from);
            self.transaction
                .set_stale_from(Some(from).filter(|_| !done));
        }
    }

    /// The last moment to take back what could not be taken back before.
    fn about_to_commit(&mut self) {
        let commits = |control: &Control| matches!(control, Control::Commit { .. });
        let (Some(from), Some((transaction, _))) =
            (self.transaction.stale_from(), self.transaction.identified())
        else {
            return;
        };
        if self.running.iter().any(commits) && self.auditor.undo_prepared(transaction, from) {
            self.transaction.set_stale_from(None);
        }
    }

    /// The connection was lost during COMMIT: only the database knows. The record travels with
    /// the transaction's id, and whoever stores it asks.
    fn publish_unsettled(&self, payloads: &[Payload], xid: Option<i64>) {
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

/// Runs a statement of ours, whose SQL needs no reading.
pub(crate) fn own<C: Connection, T>(conn: &mut C, run: impl FnOnce(&mut C) -> T) -> T {
    let _own = Recorder::of(conn).map(|recorder| recorder.own_statement());
    run(conn)
}

/// SQLite has no function that tells whether a transaction is open, but refuses to open a second
/// one. BEGIN takes no lock.
fn ask_whether_open<C: Connection>(conn: &mut C) {
    set_asking(conn, true);
    let idle = conn.batch_execute("BEGIN").is_ok();
    if idle {
        let _ = conn.batch_execute("COMMIT");
    }
    set_asking(conn, false);
    if let Some(recorder) = Recorder::of(conn) {
        if idle {
            let ended = recorder.transaction.ended_unseen();
            recorder.settle(ended);
        } else {
            recorder.transaction.still_open();
        }
    }
}

/// Stops the developer before the write is sent.
#[expect(clippy::panic, reason = "the guard's panic mode is asked for")]
fn unaudited_write(message: &str) -> ! {
    panic!("{message}")
}

fn set_asking<C: Connection>(conn: &mut C, asking: bool) {
    if let Some(recorder) = Recorder::of(conn) {
        recorder.asking = asking;
    }
}

impl Instrumentation for Recorder {
    fn on_connection_event(&mut self, event: InstrumentationEvent<'_>) {
        if self.asking {
            return;
        }
        self.observe(&event);
        if let Some(chained) = &mut self.chained {
            chained.on_connection_event(event);
        }
    }
}

impl Drop for Recorder {
    /// The connection closes, and the database rolls an open transaction back.
    fn drop(&mut self) {
        let ended = self.transaction.closed();
        self.settle(ended);
    }
}

const EMPTY_QUERY: &str = "Received an empty query";

/// How a failed query left the transaction.
impl From<Option<&Error>> for Answer {
    fn from(error: Option<&Error>) -> Self {
        use diesel::result::DatabaseErrorKind::{ClosedConnection, UnableToSendCommand};
        match error {
            None => Self::Done,
            Some(Error::DatabaseError(ClosedConnection | UnableToSendCommand, _)) => Self::Lost,
            // Diesel's own error for a query without a statement in it.
            Some(Error::DatabaseError(_, info)) if info.message() == EMPTY_QUERY => Self::Local,
            Some(Error::DatabaseError(..)) => Self::Refused,
            // Such an error arose on this side, before or after the database did its part.
            Some(_) => Self::Local,
        }
    }
}
