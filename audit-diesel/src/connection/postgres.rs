//! PostgreSQL: an error aborts the transaction.

pub(crate) mod explain;
mod relation;

pub(crate) use relation::is_unique;

use diesel::PgConnection;
use diesel::connection::{
    AnsiTransactionManager, Connection, SimpleConnection, TransactionManager,
};
use diesel::dsl::sql;
use diesel::query_dsl::RunQueryDsl;
use diesel::result::{Error, QueryResult};
use diesel::sql_types::Text;

use super::atomic::{in_transaction, uncaught};
use super::{AuditedConnection, EntriesToStore, PlannedWrite, RawConnection, RelationFacts};
use crate::recorder::{Recorder, RetryPoint, own};
use crate::store::postgres::insert;

impl AuditedConnection for PgConnection {
    type Raw = Self;

    fn raw(&mut self) -> &mut Self {
        self
    }
}

impl RawConnection for PgConnection {
    const COUNTS_ROWS_OF_VIEWS: bool = true;

    /// PostgreSQL names the time itself, under the row's lock.
    fn run_statement<T>(
        &mut self,
        run: impl FnOnce(&mut Self) -> QueryResult<T>,
    ) -> QueryResult<T> {
        run(self)
    }

    fn run_with_records<T>(
        &mut self,
        run: impl FnOnce(&mut Self) -> QueryResult<T>,
    ) -> QueryResult<T> {
        if !in_transaction(self) {
            return uncaught(|panics| {
                self.transaction(|conn| panics.turned_into_errors(|| run(conn)))
            });
        }
        uncaught(|panics| {
            let result = panics.turned_into_errors(|| run(self));
            if panics.caught() {
                own(self, Self::spoil_transaction);
            }
            result
        })
    }

    fn store_records(&mut self, entries: &EntriesToStore) -> QueryResult<()> {
        insert(self, &entries.0).map(drop)
    }

    /// The cluster and its timeline, and after a space what changes in a crash: a server that was
    /// restored or promoted, or that recovered from a crash, may give an id again that it had
    /// given before. Recovery resets the statistics; a restart in order keeps them.
    fn server_identity(&mut self) -> QueryResult<Option<String>> {
        const IDENTITY: &str = "(SELECT system_identifier FROM pg_control_system()) || '/' \
                                || left(pg_walfile_name(pg_current_wal_insert_lsn()), 8) || ' ' \
                                || coalesce(extract(epoch FROM \
                                       pg_stat_get_bgwriter_stat_reset_time())::text, '')";
        diesel::select(sql::<Text>(IDENTITY))
            .get_result(self)
            .map(Some)
    }

    /// The cluster and the database in it: the same after a fail-over, another one in a restored dump.
    fn database_identity(&mut self) -> QueryResult<Option<String>> {
        const IDENTITY: &str = "'postgres ' || (SELECT system_identifier FROM pg_control_system()) \
                                || '/' || (SELECT oid FROM pg_database \
                                           WHERE datname = current_database())";
        diesel::select(sql::<Text>(IDENTITY))
            .get_result(self)
            .map(Some)
    }

    fn relation(&mut self, write: &PlannedWrite) -> QueryResult<RelationFacts> {
        relation::relation(write.table, write.key, self).map(RelationFacts)
    }

    fn is_stale_plan(error: &Error) -> bool {
        explain::is_stale_plan(error)
    }

    fn go_back(&mut self) -> bool {
        if !in_transaction(self) {
            return true;
        }
        let point = Recorder::of(self).and_then(Recorder::take_retry_point);
        point.is_some_and(|point| own(self, |conn| go_back_to(point, conn)).is_ok())
    }

    fn explained(error: Error) -> Error {
        explain::explained(error)
    }

    /// An error on this side aborts nothing, so another one has to be made on the other.
    fn spoil_transaction(&mut self) {
        let _ = self.batch_execute(
            "DO 'BEGIN RAISE EXCEPTION ''an audit record could not be written''; END'",
        );
    }
}

/// Takes a transaction that was aborted back to where nothing had run in it yet.
fn go_back_to(point: RetryPoint, conn: &mut PgConnection) -> QueryResult<()> {
    match point {
        RetryPoint::Savepoint(name) => {
            let name = name.replace('"', "\"\"");
            conn.batch_execute(&format!("ROLLBACK TO SAVEPOINT \"{name}\""))
        }
        RetryPoint::Begin(sql) => {
            let status = AnsiTransactionManager::transaction_manager_status_mut(conn);
            let is_diesels = status.transaction_depth()?.is_some();
            conn.batch_execute("ROLLBACK")?;
            match is_diesels {
                true => AnsiTransactionManager::begin_transaction_sql(conn, &sql),
                false => conn.batch_execute(&sql),
            }
        }
    }
}
