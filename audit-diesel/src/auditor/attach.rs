//! Puts the auditor's recorder on connections.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use audit_core::{QueueOwner, Record};
use diesel::connection::{Connection, Instrumentation, TransactionManager};

use super::{AuditedBackend, Auditor, AuditorCustomizer};
use crate::AuditError;
use crate::connection::{AuditedConnection, RawConnection};
use crate::log::log;
use crate::recorder::{Recorder, own};

impl Auditor {
    /// Attaches the auditor to a connection, so that audited statements can run on it.
    ///
    /// It becomes the connection's `Instrumentation` and passes every event on to the process-wide
    /// default one. Diesel cannot hand out an instrumentation that was set on the connection
    /// itself; to keep that, use [`attach_chained`](Self::attach_chained). Attaching again to the
    /// same connection changes nothing. Inside a transaction that Diesel opened it joins that one; a
    /// transaction that raw SQL opened before cannot be seen: attach first.
    ///
    /// A SQLite connection that waits for no lock (`busy_timeout` is 0, which is SQLite's default) is made
    /// to wait for up to 5 s: a consumer may be writing to the same file. Set it to anything else
    /// before, or after, to have that instead.
    ///
    /// Where another auditor is attached, this one takes its place, and what that one passed events on
    /// to. Records of the open transaction stay with the auditor that they are of.
    ///
    /// `set_instrumentation` removes an auditor, and records of the open transaction with it: set
    /// what is to see the events before, and give it to `attach_chained`.
    ///
    /// Outside of a transaction PostgreSQL is asked which server it is, once: where a connection is
    /// lost during COMMIT, that server alone knows what became of the transaction.
    pub fn attach<C>(&self, conn: &mut C)
    where
        C: AuditedConnection,
        C::Backend: AuditedBackend,
    {
        self.put_on(conn.raw(), Chained::AsBefore);
    }

    /// Attaches the auditor to a connection and passes every event on to `chained`.
    ///
    /// On a connection that an auditor is attached to already, `chained` takes the place of what events
    /// were passed on to before.
    ///
    /// ```
    /// # #[cfg(feature = "sqlite")] {
    /// use audit_diesel::{Auditor, MemoryQueue};
    /// use diesel::connection::InstrumentationEvent;
    /// use diesel::{Connection, SqliteConnection};
    ///
    /// let auditor = Auditor::builder().queue(MemoryQueue::new()).build().unwrap();
    /// let log = |event: InstrumentationEvent<'_>| {
    ///     if let InstrumentationEvent::BeginTransaction { depth, .. } = event {
    ///         println!("a transaction at depth {depth}");
    ///     }
    /// };
    /// let mut conn = SqliteConnection::establish(":memory:").unwrap();
    /// auditor.attach_chained(&mut conn, Some(Box::new(log)));
    /// # }
    /// ```
    pub fn attach_chained<C>(&self, conn: &mut C, chained: Option<Box<dyn Instrumentation>>)
    where
        C: AuditedConnection,
        C::Backend: AuditedBackend,
    {
        self.put_on(conn.raw(), Chained::Instead(chained));
    }

    fn put_on<C>(&self, conn: &mut C, chained: Chained)
    where
        C: RawConnection,
        C::Backend: AuditedBackend,
    {
        let depth = transaction_depth(conn);
        match Recorder::of(conn) {
            Some(attached) => {
                if !attached.auditor().is_same(self) {
                    attached.take_over(self.clone());
                }
                if let Chained::Instead(chained) = chained {
                    attached.chain(chained);
                }
            }
            None => {
                let dialect = <C::Backend as AuditedBackend>::DIALECT.0;
                let chained = match chained {
                    Chained::AsBefore => diesel::connection::get_default_instrumentation(),
                    Chained::Instead(chained) => chained,
                };
                conn.set_instrumentation(Recorder::new(self.clone(), dialect, depth, chained));
            }
        }
        if let Err(error) = conn.check_supported()
            && self.shared.unsupported_said.is_due()
        {
            log!(error, %error, "audited statements will fail on this connection");
        }
        conn.attached();
        if depth == 0 {
            learn_server(conn);
            self.learn_database(conn);
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

    /// A pool gives a connection up, which is closed as long as what is returned says so.
    pub(super) fn released<C: AuditedConnection>(&self, conn: &mut C) -> Option<Arc<AtomicBool>> {
        match Recorder::of(conn.raw()) {
            None => {
                self.note_detached();
                None
            }
            Some(recorder) => Some(recorder.closes()),
        }
    }

    /// A connection has lost its auditor, and nobody knows since when.
    fn note_detached(&self) {
        let connections = self.shared.counters.detached();
        if self.shared.detached_said.is_due() {
            log!(
                error,
                connections,
                "a connection of the pool had no auditor any more when it was closed: \
                 `set_instrumentation` has taken it away, and nothing was recorded since; use \
                 `auditor.attach_chained(&mut conn, Some(…))` to add another instrumentation"
            );
        }
    }

    /// Most trails are in the database of the audited tables: unless something better is known, the
    /// records that go to a shared queue are taken to be for that one.
    fn learn_database<C: RawConnection>(&self, conn: &mut C) {
        let queue = &self.shared.queue;
        if !queue.wants_owner() {
            return;
        }
        if let Ok(Some(name)) = own(conn, RawConnection::database_identity) {
            let is_certain = false;
            // Whoever knows better was heard meanwhile.
            let _ = queue.belong_to(&QueueOwner { name, is_certain });
        }
    }

    pub(super) fn recorder_of<'c, C: Connection>(
        &self,
        conn: &'c mut C,
    ) -> Result<&'c mut Recorder, AuditError> {
        match Recorder::of(conn) {
            Some(recorder) if recorder.auditor().is_same(self) => Ok(recorder),
            _ => Err(AuditError::NoAuditor),
        }
    }
}

/// What is to see a connection's events beside the auditor.
enum Chained {
    /// What did before, and without an auditor the process-wide default.
    AsBefore,
    Instead(Option<Box<dyn Instrumentation>>),
}

/// Asks which server this is, once, and not where an error would abort a transaction. Where it is not
/// answered, records do not name the server.
fn learn_server<C: RawConnection>(conn: &mut C) {
    let is_due = |recorder: &mut Recorder| recorder.is_server_to_be_asked();
    if !Recorder::of(conn).is_some_and(is_due) {
        return;
    }
    if let Ok(Some(server)) = own(conn, RawConnection::server_identity)
        && let Some(recorder) = Recorder::of(conn)
    {
        recorder.set_server_identity(server);
    }
}

/// How deep Diesel is in transactions that began before the auditor came.
fn transaction_depth<C: Connection>(conn: &mut C) -> u32 {
    let status = C::TransactionManager::transaction_manager_status_mut(conn);
    match status.transaction_depth() {
        Ok(Some(depth)) => depth.get(),
        _ => 0,
    }
}
