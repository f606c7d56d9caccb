//! The application's handle: configuration, and where records go.

mod builder;
mod customizer;
#[cfg(feature = "postgres")]
mod keys;
mod no_queue;
mod prepared;
mod stats;

pub use builder::{AuditorBuilder, ConfigError};
pub use customizer::AuditorCustomizer;
pub(crate) use prepared::{PreparedFor, PreparedRecords};
pub use stats::AuditorStats;

use no_queue::NoQueue;

use std::sync::Arc;

use audit_core::{Actor, AuditContext, AuditEvent, Payload, Queue, QueueError, Record, Warning};
use diesel::connection::{Connection, Instrumentation, LoadConnection, TransactionManager};
use diesel::dsl::sql;
use diesel::query_dsl::RunQueryDsl;
use diesel::result::QueryResult;
use diesel::sql_types::BigInt;
#[cfg(feature = "postgres")]
use diesel::sql_types::Nullable;
use uuid::Uuid;

use crate::AuditError;
use crate::connection::AuditedConnection;
use crate::delivery::{self, Delivery};
use crate::failpoint::failpoint;
use crate::guard::{GuardMode, GuardedTables, RawWrite};
use crate::recorder::{Dialect, Recorder};
use stats::Counters;
pub(crate) use stats::DeliveryCounters;

/// The application's handle on auditing: build one at start-up, attach it to the connections, and
/// clone it where it is needed.
///
/// ```
/// use audit_diesel::{Auditor, MemoryQueue};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let auditor = Auditor::builder().queue(MemoryQueue::new()).build()?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Auditor {
    shared: Arc<Shared>,
}

struct Shared {
    queue: Arc<dyn Queue>,
    /// Whether the queue is one: an auditor whose records are all transactional needs none.
    has_queue: bool,
    /// Where records are written down before COMMIT.
    prepared: Option<Box<dyn PreparedRecords>>,
    settings: Settings,
    counters: Counters,
    #[cfg(feature = "postgres")]
    keys: keys::CheckedKeys,
}

/// What the builder sets beside the queue.
#[derive(Debug, Clone)]
struct Settings {
    delivery: Delivery,
    /// Whether a model may choose another mode.
    delivery_is_for_all: bool,
    require_context: bool,
    max_record_bytes: usize,
    max_transaction_bytes: usize,
    guard_mode: GuardMode,
    guarded: GuardedTables,
    /// The application's own words that say secret.
    secret_words: Vec<&'static str>,
}

impl Auditor {
    /// Starts to configure an auditor.
    pub fn builder() -> AuditorBuilder {
        AuditorBuilder::default()
    }

    fn new(
        queue: Option<Arc<dyn Queue>>,
        prepared: Option<Box<dyn PreparedRecords>>,
        settings: Settings,
        delivery: Arc<DeliveryCounters>,
    ) -> Self {
        Self {
            shared: Arc::new(Shared {
                has_queue: queue.is_some(),
                queue: queue.unwrap_or_else(|| Arc::new(NoQueue)),
                prepared,
                settings,
                counters: Counters::new(delivery),
                #[cfg(feature = "postgres")]
                keys: keys::CheckedKeys::default(),
            }),
        }
    }

    /// The queue that a [`Consumer`](crate::Consumer) takes the records from. An auditor that was
    /// built without one, for [`Delivery::Transactional`] alone, has one that refuses everything.
    pub fn queue(&self) -> Arc<dyn Queue> {
        Arc::clone(&self.shared.queue)
    }

    /// The models whose keys were found to tell rows apart.
    #[cfg(feature = "postgres")]
    pub(crate) fn keys(&self) -> &keys::CheckedKeys {
        &self.shared.keys
    }

    /// What the auditor did since it was built.
    pub fn stats(&self) -> AuditorStats {
        self.shared.counters.read()
    }

    /// Asks the queue for settings by which it could lose records: a Redis without persistence or
    /// one that evicts, a journal in memory. Each is said once by `tracing::warn!` as well, as
    /// soon as the server can be asked; [`Consumer::warnings`](crate::Consumer::warnings) knows
    /// about the database.
    ///
    /// # Errors
    ///
    /// [`QueueError::Unavailable`] where the queue cannot be asked now.
    pub fn warnings(&self) -> Result<Vec<Warning>, QueueError> {
        self.shared.queue.warnings()
    }

    /// Attaches the auditor to a connection, so that audited statements can run on it.
    ///
    /// It becomes the connection's `Instrumentation` and passes every event on to the process-wide
    /// default one. Diesel cannot hand out an instrumentation that was set on the connection
    /// itself; to keep that, use [`attach_chained`](Self::attach_chained). Attaching again to the
    /// same connection changes nothing. Inside a transaction that Diesel opened it joins that one; a
    /// transaction that raw SQL opened before cannot be seen: attach first.
    pub fn attach<C>(&self, conn: &mut C)
    where
        C: AuditedConnection,
        C::Backend: AuditedBackend,
    {
        self.attach_chained(conn, diesel::connection::get_default_instrumentation());
    }

    /// Attaches the auditor to a connection and passes every event on to `chained`.
    pub fn attach_chained<C>(&self, conn: &mut C, chained: Option<Box<dyn Instrumentation>>)
    where
        C: AuditedConnection,
        C::Backend: AuditedBackend,
    {
        let conn = conn.raw();
        let dialect = <C::Backend as AuditedBackend>::DIALECT.0;
        let depth = transaction_depth(conn);
        let recorder = |chained| Recorder::new(self.clone(), dialect, depth, chained);
        match Recorder::of(conn) {
            Some(other) if other.auditor().is_same(self) => {}
            // Another auditor holds records that its own queue has to get at COMMIT.
            Some(other) if other.pending().next().is_some() => {
                let other = std::mem::replace(other, recorder(None));
                conn.set_instrumentation(recorder(Some(Box::new(other))));
            }
            _ => conn.set_instrumentation(recorder(chained)),
        }
    }

    /// The records that wait for the connection's transaction to be committed, for tests: in
    /// Diesel's `begin_test_transaction` they wait for good.
    ///
    /// # Errors
    ///
    /// [`AuditError::NoAuditor`] on a connection that this auditor is not attached to.
    pub fn pending<C: AuditedConnection>(&self, conn: &mut C) -> Result<Vec<Record>, AuditError> {
        let recorder = self.recorder_of(conn.raw())?;
        Ok(recorder
            .pending()
            .filter_map(|payload| Record::decode(payload.as_bytes()).ok())
            .collect())
    }

    fn recorder_of<'c, C: Connection>(
        &self,
        conn: &'c mut C,
    ) -> Result<&'c mut Recorder, AuditError> {
        match Recorder::of(conn) {
            Some(recorder) if recorder.auditor().is_same(self) => Ok(recorder),
            _ => Err(AuditError::NoAuditor),
        }
    }

    /// What attaches this auditor to every connection of an r2d2 pool.
    ///
    /// ```no_run
    /// # use audit_diesel::{Auditor, MemoryQueue};
    /// # #[cfg(feature = "sqlite")] {
    /// use diesel::SqliteConnection;
    /// use diesel::r2d2::{ConnectionManager, Pool};
    ///
    /// # let auditor = Auditor::builder().queue(MemoryQueue::new()).build().unwrap();
    /// let pool = Pool::builder()
    ///     .connection_customizer(auditor.customizer())
    ///     .build(ConnectionManager::<SqliteConnection>::new("app.db"));
    /// # }
    /// ```
    pub fn customizer<C>(&self) -> Box<AuditorCustomizer<C>>
    where
        C: AuditedConnection,
        C::Backend: AuditedBackend,
    {
        Box::new(AuditorCustomizer::new(self.clone()))
    }

    /// Records an event at once, in the context in force. It goes to the queue in every mode, as
    /// there is no connection to write it through.
    ///
    /// # Errors
    ///
    /// When it is too large or not JSON, when a context is required and there is none, and when
    /// the queue does not take it: then it is not recorded. [`AuditError::NoQueue`] where the
    /// auditor has none.
    pub fn record(&self, event: AuditEvent) -> Result<(), AuditError> {
        self.check_queue()?;
        let payload = self.encode_event(event)?;
        self.shared.queue.push(&[payload])?;
        self.shared.counters.published(1);
        Ok(())
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

    fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.shared, &other.shared)
    }

    /// How the records of a model are delivered that asks for `chosen`.
    ///
    /// # Errors
    ///
    /// [`AuditError::NoQueue`] and [`AuditError::NoJournal`] where that mode needs one and the
    /// auditor has none.
    pub(crate) fn delivery(&self, chosen: Option<Delivery>) -> Result<Delivery, AuditError> {
        let settings = &self.shared.settings;
        let chosen = chosen.filter(|_| !settings.delivery_is_for_all);
        let delivery = chosen.unwrap_or(settings.delivery);
        match delivery {
            Delivery::AfterCommit => self.check_queue()?,
            Delivery::Prepared => drop(self.prepared()?),
            Delivery::Transactional => {}
        }
        Ok(delivery)
    }

    /// Where records are written down before COMMIT.
    pub(crate) fn prepared(&self) -> Result<&dyn PreparedRecords, AuditError> {
        self.shared.prepared.as_deref().ok_or(AuditError::NoJournal)
    }

    /// Hands prepared records on whose transaction is committed. Where that fails, they are found
    /// in the journal later.
    pub(crate) fn release(&self, transaction: Uuid, payloads: &[Payload]) {
        let released = self.shared.prepared.as_ref();
        match released.map(|prepared| prepared.release(transaction, payloads)) {
            Some(Ok(())) => self.shared.counters.published(payloads.len()),
            Some(Err(error)) => left_to_the_reconciler(&error),
            None => {}
        }
    }

    /// Leaves it to the database what became of a transaction.
    pub(crate) fn leave_prepared(&self, transaction: Uuid) {
        if let Some(prepared) = &self.shared.prepared {
            prepared.leave(transaction);
        }
    }

    /// Removes prepared records that were rolled back, and says whether that was done.
    pub(crate) fn undo_prepared(&self, transaction: Uuid, from: u32) -> bool {
        let undone = self.shared.prepared.as_ref();
        match undone.map(|prepared| prepared.undo(transaction, from)) {
            Some(Err(error)) => {
                left_to_the_reconciler(&error);
                false
            }
            _ => true,
        }
    }

    fn check_queue(&self) -> Result<(), AuditError> {
        match self.shared.has_queue {
            true => Ok(()),
            false => Err(AuditError::NoQueue),
        }
    }

    pub(crate) fn max_transaction_bytes(&self) -> usize {
        self.shared.settings.max_transaction_bytes
    }

    /// The context in force, with the actor `unknown` where it names none.
    pub(crate) fn context(&self) -> Result<AuditContext, AuditError> {
        let context = AuditContext::current();
        if names_actor(&context) {
            return Ok(context);
        }
        self.check_context()?;
        self.shared.counters.without_actor();
        tracing::debug!("a change is recorded without an actor: no audit context is in force");
        Ok(context.actor(Actor::unknown()))
    }

    /// The context in force, for what is recorded though nobody may be known.
    pub(crate) fn context_or_unknown(&self) -> AuditContext {
        self.context()
            .unwrap_or_else(|_| AuditContext::current().actor(Actor::unknown()))
    }

    /// The tables that raw writes are looked for; none where the guard is off.
    pub(crate) fn guarded_tables(&self) -> Option<&GuardedTables> {
        let settings = &self.shared.settings;
        let watches = settings.guard_mode != GuardMode::Off && !settings.guarded.is_empty();
        watches.then_some(&settings.guarded)
    }

    pub(crate) fn guard_mode(&self) -> GuardMode {
        self.shared.settings.guard_mode
    }

    /// Counts raw writes to audited tables, and says them aloud.
    pub(crate) fn unaudited_writes(&self, writes: &[RawWrite]) {
        self.shared.counters.unaudited_writes(writes.len());
        for write in writes {
            tracing::warn!(table = write.table, verb = write.verb, "an unaudited write");
        }
    }

    /// Refuses where a context is required and there is none.
    pub(crate) fn check_context(&self) -> Result<(), AuditError> {
        match self.shared.settings.require_context && !names_actor(&AuditContext::current()) {
            true => Err(AuditError::NoContext),
            false => Ok(()),
        }
    }

    /// Encodes the record of a change. The change is done, so this finds a way: a record that is
    /// too large keeps which fields changed, with their sizes in place of their values.
    pub(crate) fn encode_change(&self, mut record: Record) -> Result<Payload, AuditError> {
        self.mask_extra(&mut record);
        let max_bytes = self.shared.settings.max_record_bytes;
        let payload = record.encode().map_err(AuditError::Unserializable)?;
        let bytes = payload.as_bytes().len();
        if bytes <= max_bytes {
            return Ok(payload);
        }
        self.shared.counters.oversized();
        tracing::warn!(
            record = %record.id,
            resource = record.resource_type.as_deref(),
            bytes,
            max_bytes,
            "a record is too large: its values are replaced by their sizes"
        );
        let shrunk = record.shrunk_to(max_bytes).encode();
        shrunk.map_err(AuditError::Unserializable)
    }

    /// As [`encode_change`](Self::encode_change), where the change may not fail any more.
    pub(crate) fn encode_change_or_count(&self, record: Record) -> Option<Payload> {
        let (id, what) = (record.id, record.resource_type.clone());
        let payload = self.encode_change(record).ok();
        if payload.is_none() {
            self.shared.counters.failed(1);
            tracing::error!(record = %id, resource = what.as_deref(), "a record cannot be written as JSON and is lost");
        }
        payload
    }

    fn encode_event(&self, event: AuditEvent) -> Result<Payload, AuditError> {
        self.encode_event_record(Record::from_event(event, self.context()?))
    }

    /// Encodes the record of an event, which is refused where it is too large.
    pub(crate) fn encode_event_record(&self, mut record: Record) -> Result<Payload, AuditError> {
        self.mask_extra(&mut record);
        let payload = record.encode().map_err(AuditError::Unserializable)?;
        let bytes = payload.as_bytes().len();
        let max_bytes = self.shared.settings.max_record_bytes;
        if bytes > max_bytes {
            return Err(AuditError::RecordTooLarge { bytes, max_bytes });
        }
        Ok(payload)
    }

    fn mask_extra(&self, record: &mut Record) {
        let words = &self.shared.settings.secret_words;
        if !words.is_empty() {
            record.mask_extra(words);
        }
    }

    /// Hands records over whose change the database has kept. It must not fail the user's
    /// operation, so a queue that refuses is counted and said aloud.
    pub(crate) fn publish(&self, payloads: &[Payload]) {
        if payloads.is_empty() {
            return;
        }
        match self.shared.queue.push(payloads) {
            // One that is too large must not take the others along.
            Err(QueueError::TooLarge { .. }) if payloads.len() > 1 => {
                for payload in payloads.chunks(1) {
                    self.publish(payload);
                }
            }
            Ok(()) => {
                self.shared.counters.published(payloads.len());
                failpoint!("publish.done");
            }
            Err(error) => {
                self.shared.counters.failed(payloads.len());
                tracing::error!(
                    records = payloads.len(),
                    %error,
                    "audit records could not be handed over and are lost"
                );
            }
        }
    }

    /// Counts records whose change was rolled back.
    pub(crate) fn discarded(&self, records: usize) {
        self.shared.counters.discarded(records);
    }
}

fn left_to_the_reconciler(error: &QueueError) {
    tracing::warn!(%error, "the end of a transaction could not be noted: it is settled later");
}

fn names_actor(context: &AuditContext) -> bool {
    context.actor_ref().is_some_and(|actor| !actor.is_unknown())
}

/// How deep Diesel is in transactions that began before the auditor came.
fn transaction_depth<C: Connection>(conn: &mut C) -> u32 {
    let status = C::TransactionManager::transaction_manager_status_mut(conn);
    match status.transaction_depth() {
        Ok(Some(depth)) => depth.get(),
        _ => 0,
    }
}

impl std::fmt::Debug for Auditor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Auditor")
            .field("queue", &self.shared.queue.name())
            .field("settings", &self.shared.settings)
            .finish_non_exhaustive()
    }
}

/// A Diesel backend that audited statements run on.
pub trait AuditedBackend: diesel::backend::Backend {
    /// How the backend ends transactions.
    #[doc(hidden)]
    const DIALECT: BackendDialect;

    /// The database's id of the running transaction, by which it can be asked later.
    #[doc(hidden)]
    fn transaction_id<C: LoadConnection<Backend = Self>>(conn: &mut C) -> Option<i64>;

    /// How many rows this transaction (on SQLite: this connection) has written so far.
    #[doc(hidden)]
    fn rows_written<C: LoadConnection<Backend = Self>>(conn: &mut C) -> QueryResult<i64>;
}

/// Keeps [`Dialect`] out of the public API.
#[doc(hidden)]
#[derive(Debug, Clone, Copy)]
pub struct BackendDialect(pub(crate) Dialect);

#[cfg(feature = "postgres")]
impl AuditedBackend for diesel::pg::Pg {
    const DIALECT: BackendDialect = BackendDialect(Dialect::Postgres);

    fn transaction_id<C: LoadConnection<Backend = Self>>(conn: &mut C) -> Option<i64> {
        // A standby has no ids to give, and asking for one would abort the transaction.
        const ID: &str = "CASE WHEN pg_is_in_recovery() THEN NULL ELSE txid_current() END";
        diesel::select(sql::<Nullable<BigInt>>(ID))
            .get_result(conn)
            .ok()
            .flatten()
    }

    fn rows_written<C: LoadConnection<Backend = Self>>(conn: &mut C) -> QueryResult<i64> {
        const ROWS: &str = "(SELECT coalesce(sum(n_tup_ins + n_tup_upd + n_tup_del), 0)::bigint \
                             FROM pg_stat_xact_user_tables)";
        diesel::select(sql::<BigInt>(ROWS)).get_result(conn)
    }
}

#[cfg(feature = "sqlite")]
impl AuditedBackend for diesel::sqlite::Sqlite {
    const DIALECT: BackendDialect = BackendDialect(Dialect::Sqlite);

    fn transaction_id<C: LoadConnection<Backend = Self>>(_: &mut C) -> Option<i64> {
        None
    }

    fn rows_written<C: LoadConnection<Backend = Self>>(conn: &mut C) -> QueryResult<i64> {
        diesel::select(sql::<BigInt>("total_changes()")).get_result(conn)
    }
}
