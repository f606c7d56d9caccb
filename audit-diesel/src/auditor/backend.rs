//! What the auditor has to know of a database.

#[cfg(feature = "postgres")]
mod subtransaction;

use diesel::connection::LoadConnection;
use diesel::dsl::sql;
use diesel::query_dsl::RunQueryDsl;
use diesel::result::QueryResult;
use diesel::sql_types::BigInt;
#[cfg(feature = "postgres")]
use diesel::sql_types::Nullable;

use crate::recorder::Dialect;

/// A Diesel backend that audited statements run on.
pub trait AuditedBackend: diesel::backend::Backend {
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

    fn writer<C: LoadConnection<Backend = Self>>(
        _: &mut C,
        _: Option<usize>,
    ) -> QueryResult<Option<i64>> {
        Ok(None)
    }

    fn rows_written<C: LoadConnection<Backend = Self>>(conn: &mut C) -> QueryResult<i64> {
        diesel::select(sql::<BigInt>("total_changes()")).get_result(conn)
    }
}
