//! What the auditor puts on a connection: it holds the records of the running transaction until
//! the database has decided.

mod ask;
mod control;
mod exempt;
mod observe;
mod prepared;
mod record;
mod relations;
#[cfg_attr(
    not(feature = "postgres"),
    allow(dead_code, reason = "SQLite's errors end no transaction")
)]
mod retry_point;
mod settle;
mod transaction;

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use audit_core::{AuditContext, Payload};
use diesel::connection::{Connection, Instrumentation, InstrumentationEvent};

use crate::AuditError;
use crate::auditor::Auditor;
use crate::dialect::Dialect;
use crate::guard::{RawWrite, Watch};
use crate::panics;
#[cfg(feature = "sqlite")]
use crate::turns::{OpenTurn, Turns};
use ask::ask_whether_open;
use control::Control;
pub(crate) use exempt::{Block, Exempt};
pub(crate) use prepared::PlanVersion;
use prepared::PreparedForms;
use relations::Relations;
pub(crate) use retry_point::RetryPoint;
use transaction::TransactionBuffer;

/// The auditor's part on a connection, put there as Diesel's `Instrumentation`.
pub(crate) struct Recorder {
    auditor: Auditor,
    /// Another instrumentation, which every event is passed on to.
    chained: Option<Box<dyn Instrumentation>>,
    /// The recorders of auditors that were attached before: each holds records until the open
    /// transaction ends.
    retired: Vec<Recorder>,
    /// Set while an audited statement runs: a panic of the chained instrumentation waits for its end.
    holds_panics: bool,
    /// The panic that waits.
    held_panic: Option<Box<dyn Any + Send>>,
    transaction: TransactionBuffer,
    /// What the query that runs now does to the transaction.
    running: Vec<Control>,
    /// Whether the query that runs now was answered by an error. Diesel may tell of its end again, as if it
    /// had succeeded.
    failed: bool,
    /// Whether the query that runs now is a prepared one, which PostgreSQL refuses as a whole where its text
    /// has several statements.
    refused_whole: bool,
    /// Set while Diesel asks for a type of the query that runs now, before it sends that.
    looks_type_up: bool,
    /// Set while an audited statement runs: its SQL needs no reading.
    own_statement: Arc<AtomicBool>,
    /// Set while the database is asked whether a transaction is open: such queries are neither read nor
    /// passed on.
    asking: bool,
    /// Set once it is known that the connection is about to be closed.
    closing: Arc<AtomicBool>,
    /// Set once another auditor has taken over: its audited statements would look like raw writes here.
    is_retired: bool,
    /// What the guard knows about this connection.
    watch: Watch,
    /// The writes of the query that runs now which should have been audited.
    raw_writes: Vec<RawWrite>,
    /// Counts the statements of an exempt block.
    exempt: Arc<Exempt>,
    /// Which server the connection is to, once that was answered.
    server: Option<String>,
    server_asked: bool,
    /// What the connection keeps prepared of our statements.
    prepared_forms: PreparedForms,
    /// What the connection was told about the relations that its models map.
    relations: Relations,
    /// Where a statement that failed can be tried again from.
    retry_point: Option<RetryPoint>,
    /// Whether the connection's transactions take turns with a consumer that writes to the same file.
    #[cfg(feature = "sqlite")]
    turns: FileTurns,
}

/// The turns of a connection whose file a consumer of this process may write to.
#[cfg(feature = "sqlite")]
#[derive(Default)]
struct FileTurns {
    turns: Option<Arc<Turns>>,
    /// The turn of the transaction that is open, or about to begin.
    open: Option<OpenTurn>,
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
        let transaction = TransactionBuffer::new(dialect, max_bytes, depth);
        Self::with(auditor, transaction, chained)
    }

    fn with(
        auditor: Auditor,
        transaction: TransactionBuffer,
        chained: Option<Box<dyn Instrumentation>>,
    ) -> Self {
        Self {
            auditor,
            chained,
            retired: Vec::new(),
            holds_panics: false,
            held_panic: None,
            transaction,
            running: Vec::new(),
            failed: false,
            refused_whole: false,
            looks_type_up: false,
            own_statement: Arc::default(),
            asking: false,
            closing: Arc::default(),
            is_retired: false,
            watch: Watch::default(),
            raw_writes: Vec::new(),
            exempt: Arc::default(),
            server: None,
            server_asked: false,
            prepared_forms: PreparedForms::default(),
            relations: Relations::default(),
            retry_point: None,
            #[cfg(feature = "sqlite")]
            turns: FileTurns::default(),
        }
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
            let dialect = recorder.transaction.dialect();
            ask_whether_open(conn, dialect);
        }
        let recorder = Self::of(conn).ok_or(AuditError::NoAuditor)?;
        recorder.transaction.check_room()?;
        Ok(recorder)
    }

    /// The connection is about to be closed, for as long as what is returned says so.
    pub(crate) fn closes(&mut self) -> Arc<AtomicBool> {
        self.closing.store(true, Ordering::Relaxed);
        for retired in &mut self.retired {
            retired.closing = Arc::clone(&self.closing);
        }
        Arc::clone(&self.closing)
    }

    /// Hands the connection over to another auditor, which takes part in the open transaction from now
    /// on. Records that wait for its end stay with the auditor that they are of.
    pub(crate) fn take_over(&mut self, auditor: Auditor) {
        let transaction = self.transaction.joined(auditor.max_transaction_bytes());
        let mut next = Self::with(auditor, transaction, self.chained.take());
        // What is known of the connection, whoever audits it.
        next.exempt = Arc::clone(&self.exempt);
        next.server = self.server.clone();
        next.server_asked = self.server_asked;
        next.prepared_forms = std::mem::take(&mut self.prepared_forms);
        next.relations = std::mem::take(&mut self.relations);
        next.watch = std::mem::take(&mut self.watch);
        next.retry_point = self.retry_point.take();
        #[cfg(feature = "sqlite")]
        {
            next.turns = std::mem::take(&mut self.turns);
        }
        next.retired = std::mem::take(&mut self.retired);
        let mut before = std::mem::replace(self, next);
        if before.pending().next().is_some() {
            before.is_retired = true;
            self.retired.push(before);
        }
    }

    /// Passes events on to this from now on, and no longer to what saw them before.
    pub(crate) fn chain(&mut self, chained: Option<Box<dyn Instrumentation>>) {
        self.chained = chained;
    }

    pub(crate) fn auditor(&self) -> &Auditor {
        &self.auditor
    }

    /// What counts the statements of exempt blocks on this connection.
    pub(crate) fn exempt(&self) -> &Arc<Exempt> {
        &self.exempt
    }

    pub(crate) fn in_transaction(&self) -> bool {
        self.transaction.is_open()
    }

    pub(crate) fn has_xid(&self) -> bool {
        self.transaction.has_xid()
    }

    /// Notes that the open transaction began with the lock against other writers of all files.
    #[cfg(feature = "sqlite")]
    pub(crate) fn note_write_lock(&mut self) {
        self.transaction.note_write_lock();
    }

    /// Whether the open transaction is known to hold the lock against other writers of this table.
    #[cfg(feature = "sqlite")]
    pub(crate) fn has_lock_of(&self, table: &str) -> bool {
        self.transaction.has_lock_of(table)
    }

    /// Notes that the open transaction holds the lock against other writers of this table.
    #[cfg(feature = "sqlite")]
    pub(crate) fn note_lock_of(&mut self, table: &'static str) {
        self.transaction.note_lock_of(table);
    }

    /// By which id the database knows what is written now, where that is known.
    pub(crate) fn writer(&self) -> Option<i64> {
        self.transaction.writer()
    }

    /// How many savepoints are in force, as far as that is known.
    pub(crate) fn depth(&self) -> Option<usize> {
        self.transaction.depth()
    }

    /// Notes by which id the database knows what is written now.
    pub(crate) fn set_writer(&mut self, writer: i64) {
        self.transaction.set_writer(writer);
    }

    /// The number of the record that comes next in the transaction.
    pub(crate) fn next_place(&self) -> u32 {
        self.transaction.next_place()
    }

    /// Has the connection's transactions take turns with a consumer's, or not.
    #[cfg(feature = "sqlite")]
    pub(crate) fn set_turns(&mut self, turns: Option<Arc<Turns>>) -> Option<Arc<Turns>> {
        std::mem::replace(&mut self.turns.turns, turns)
    }

    /// Waits for its turn where a transaction is about to begin, and gives it up where none is open.
    #[cfg(feature = "sqlite")]
    fn take_turns(&mut self, event: &InstrumentationEvent<'_>) {
        if self.turns.turns.is_none() && self.turns.open.is_none() {
            return;
        }
        let is_open = self.transaction.is_open();
        match event {
            InstrumentationEvent::StartQuery { .. } if !is_open => {
                let begins =
                    |control: &Control| matches!(control, Control::Begin | Control::Savepoint(_));
                if self.turns.open.is_none() && self.running.iter().any(begins) {
                    self.turns.open = self.turns.turns.as_ref().map(Turns::begin);
                }
            }
            InstrumentationEvent::FinishQuery { .. } if !is_open => self.turns.open = None,
            _ => {}
        }
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

    /// Holds the panics of the chained instrumentation back that come when a query has run, until
    /// [`take_held_panic`](Self::take_held_panic): the row is written by then, and its record is not
    /// made yet.
    pub(crate) fn hold_panics(&mut self) {
        self.holds_panics = true;
    }

    /// Holds no more panics back, and returns the one that was.
    pub(crate) fn take_held_panic(&mut self) -> Option<Box<dyn Any + Send>> {
        self.holds_panics = false;
        self.held_panic.take()
    }

    fn pass_on(&mut self, event: InstrumentationEvent<'_>) {
        let Some(chained) = &mut self.chained else {
            return;
        };
        if !self.holds_panics || !matches!(event, InstrumentationEvent::FinishQuery { .. }) {
            return chained.on_connection_event(event);
        }
        let passed_on = AssertUnwindSafe(|| chained.on_connection_event(event));
        if let Err(panic) = catch_unwind(passed_on) {
            match self.held_panic {
                None => self.held_panic = Some(panic),
                Some(_) => drop(panics::message(panic)),
            }
        }
    }

    /// What the connection keeps prepared of our statements.
    pub(crate) fn prepared_forms(&mut self) -> &mut PreparedForms {
        &mut self.prepared_forms
    }

    /// What the connection was told about the relations that its models map.
    pub(crate) fn relations(&mut self) -> &mut Relations {
        &mut self.relations
    }

    /// Whether statements of this model are kept prepared, should they have one more form.
    pub(crate) fn may_keep_prepared<M: 'static>(&mut self) -> bool {
        self.prepared_forms.has_room::<M>() && self.relations.keeps_plans()
    }

    /// Changes when a statement of this model that was prepared before may return other types than it
    /// did: then it has to be prepared anew, under another text.
    pub(crate) fn plan_version<M: 'static>(&mut self) -> PlanVersion {
        PlanVersion {
            stale_plans: self.auditor.stale_plans(),
            types: self.relations.types_since_first::<M>(),
        }
    }

    /// A statement that was prepared under this version returns other types than it did.
    pub(crate) fn plan_was_stale<M: 'static>(&mut self, version: PlanVersion) {
        self.relations.one_more_stale_plan::<M>();
        if version.stale_plans == self.auditor.stale_plans() {
            self.auditor.one_more_stale_plan();
        }
    }

    /// Where a statement that failed can be tried again from, once.
    #[cfg(feature = "postgres")]
    pub(crate) fn take_retry_point(&mut self) -> Option<RetryPoint> {
        self.retry_point.take()
    }

    /// An audited statement has ended. On SQLite an error may have ended the transaction with it.
    pub(crate) fn statement_ended(&mut self, failed: bool) {
        self.retry_point = None;
        if failed {
            self.transaction.doubt_on_sqlite();
        }
    }

    /// Whether a statement failed in the open transaction, and it may have been done all the same.
    pub(crate) fn is_doubtfully_aborted(&self) -> bool {
        self.transaction.is_doubtfully_aborted()
    }

    /// Whether it is not known yet which server the connection is to.
    pub(crate) fn needs_server_identity(&self) -> bool {
        self.server.is_none()
    }

    /// Whether to ask for it now, outside of a transaction. True once.
    pub(crate) fn is_server_to_be_asked(&mut self) -> bool {
        !self.in_transaction() && !std::mem::replace(&mut self.server_asked, true)
    }

    pub(crate) fn set_server_identity(&mut self, server: String) {
        self.server = Some(server);
    }
}

impl Recorder {
    /// Those of auditors that were attached before only wait for the transaction's end. The guard is
    /// the present one's, which knows the audited statements as its own.
    fn pass_to_retired(&mut self, event: &InstrumentationEvent<'_>) {
        for recorder in &mut self.retired {
            recorder.observe(event);
        }
        self.retired.retain(|it| it.pending().next().is_some());
    }

    /// The database says whether a transaction is open.
    fn told_whether_open(&mut self, open: bool) {
        for recorder in &mut self.retired {
            recorder.told_whether_open(open);
        }
        if open {
            self.transaction.still_open();
        } else {
            let ended = self.transaction.ended_unseen();
            self.settle(ended);
        }
    }
}

/// Runs a statement of ours, whose SQL needs no reading.
pub(crate) fn own<C: Connection, T>(conn: &mut C, run: impl FnOnce(&mut C) -> T) -> T {
    let _own = Recorder::of(conn).map(|recorder| recorder.own_statement());
    run(conn)
}

impl Instrumentation for Recorder {
    fn on_connection_event(&mut self, event: InstrumentationEvent<'_>) {
        if self.asking {
            return;
        }
        self.observe(&event);
        #[cfg(feature = "sqlite")]
        self.take_turns(&event);
        self.pass_to_retired(&event);
        self.pass_on(event);
    }
}

impl Drop for Recorder {
    /// The connection closes, and the database rolls an open transaction back; or somebody has set
    /// another instrumentation, and the transaction goes on. Nobody says which.
    fn drop(&mut self) {
        let records = self.transaction.pending().count();
        let closing = self.closing.load(Ordering::Relaxed);
        if records > 0 && !closing {
            self.auditor.left_in_transaction(records, self.has_xid());
        }
        let ended = self.transaction.closed(closing);
        self.settle(ended);
    }
}
