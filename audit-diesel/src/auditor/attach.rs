//! Puts the auditor's recorder on connections.

use audit_core::Record;
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
    /// Outside of a transaction PostgreSQL is asked which server it is, once: where a connection is
    /// lost during COMMIT, that server alone knows what became of the transaction.
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
                let mut other = std::mem::replace(other, recorder(None));
                other.retire();
                conn.set_instrumentation(recorder(Some(Box::new(other))));
            }
            _ => conn.set_instrumentation(recorder(chained)),
        }
        if depth == 0 {
            learn_server(conn);
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

    /// A pool gives a connection up, and `closes` it for sure unless somebody else takes it.
    pub(super) fn released<C: AuditedConnection>(&self, conn: &mut C, closes: bool) {
        match Recorder::of(conn.raw()) {
            None => self.note_detached(),
            Some(recorder) if closes => recorder.closes(),
            Some(_) => {}
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
