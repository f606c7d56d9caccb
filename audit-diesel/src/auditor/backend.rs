//! What the auditor has to know of a database.

#[cfg(feature = "postgres")]
mod subtransaction;

use diesel::connection::LoadConnection;
#[cfg(feature = "postgres")]
use diesel::dsl::sql;
use diesel::query_builder::{AstPass, Query, QueryFragment, QueryId};
use diesel::query_dsl::RunQueryDsl;
use diesel::result::QueryResult;
use diesel::sql_types::BigInt;
#[cfg(feature = "postgres")]
use diesel::sql_types::Nullable;

use crate::dialect::Dialect;
use crate::model::StoredValues;

/// A Diesel backend that audited statements run on.
pub trait AuditedBackend: StoredValues {
    /// How the backend ends transactions.
    #[doc(hidden)]
    const DIALECT: BackendDialect;

    /// The database's id of the running transaction, by which it can be asked later.
    #[doc(hidden)]
    fn transaction_id<C: LoadConnection<Backend = Self>>(conn: &mut C) -> Option<i64>;

    /// The database's id of what is written now: the transaction's, or that of the subtransaction
    /// which the innermost of `depth` savepoints has begun, where it can be asked about that one.
    #[doc(hidden)]
    fn writer<C: LoadConnection<Backend = Self>>(
        conn: &mut C,
        depth: Option<usize>,
    ) -> QueryResult<Option<i64>>;

    /// How many rows this transaction (on SQLite: this connection) has written so far.
    #[doc(hidden)]
    fn rows_written<C: LoadConnection<Backend = Self>>(conn: &mut C) -> QueryResult<i64>;
}

/// Keeps [`Dialect`] out of the public API.
#[doc(hidden)]
#[derive(Debug, Clone, Copy)]
pub struct BackendDialect(pub(crate) Dialect);

/// Stays prepared, as Diesel's `sql` does not.
#[derive(QueryId)]
struct RowsWritten;

impl Query for RowsWritten {
    type SqlType = BigInt;
}

impl<Conn> RunQueryDsl<Conn> for RowsWritten {}

#[cfg(feature = "postgres")]
impl QueryFragment<diesel::pg::Pg> for RowsWritten {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, diesel::pg::Pg>) -> QueryResult<()> {
        // What `pg_stat_xact_user_tables` adds up, without its joins, which take longer than a
        // small update. Lower numbers are PostgreSQL's own tables.
        out.push_sql(
            "SELECT coalesce(sum(pg_stat_get_xact_tuples_inserted(oid) \
                 + pg_stat_get_xact_tuples_updated(oid) \
                 + pg_stat_get_xact_tuples_deleted(oid)), 0)::bigint \
             FROM pg_catalog.pg_class WHERE relkind IN ('r', 'm', 'p') AND oid >= 16384",
        );
        Ok(())
    }
}

#[cfg(feature = "sqlite")]
impl QueryFragment<diesel::sqlite::Sqlite> for RowsWritten {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, diesel::sqlite::Sqlite>) -> QueryResult<()> {
        out.push_sql("SELECT total_changes()");
        Ok(())
    }
}

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

    fn writer<C: LoadConnection<Backend = Self>>(
        conn: &mut C,
        depth: Option<usize>,
    ) -> QueryResult<Option<i64>> {
        subtransaction::writer(conn, depth)
    }

    fn rows_written<C: LoadConnection<Backend = Self>>(conn: &mut C) -> QueryResult<i64> {
        RowsWritten.get_result(conn)
    }
}

#[cfg(feature = "sqlite")]
impl AuditedBackend for diesel::sqlite::Sqlite {
    const DIALECT: BackendDialect = BackendDialect(Dialect::Sqlite);

    fn transaction_id<C: LoadConnection<Backend = Self>>(_: &mut C) -> Option<i64> {
        None
    }

    fn writer<C: LoadConnection<Backend = Self>>(
        _: &mut C,
        _: Option<usize>,
    ) -> QueryResult<Option<i64>> {
        Ok(None)
    }

    fn rows_written<C: LoadConnection<Backend = Self>>(conn: &mut C) -> QueryResult<i64> {
        RowsWritten.get_result(conn)
    }
}
