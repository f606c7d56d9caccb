//! What differs between the databases that audited statements run on.

use diesel::connection::LoadConnection;
use diesel::dsl::sql;
use diesel::query_dsl::RunQueryDsl;
use diesel::result::QueryResult;
use diesel::sql_types::BigInt;
#[cfg(feature = "postgres")]
use diesel::sql_types::Nullable;

use crate::recorder::Dialect;
use crate::store::EntryToStore;

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

    /// Inserts the records of one statement into `audit_logs`.
    #[doc(hidden)]
    fn store<C: LoadConnection<Backend = Self>>(
        conn: &mut C,
        entries: &EntriesToStore,
    ) -> QueryResult<()>;

    /// Runs a statement and what belongs to it inside the transaction that is open. Where it
    /// fails, nothing of it may be left that a COMMIT could keep.
    #[doc(hidden)]
    fn within_transaction<C: LoadConnection<Backend = Self>, T>(
        conn: &mut C,
        run: impl FnOnce(&mut C) -> QueryResult<T>,
    ) -> QueryResult<T>;

    /// Sees to it that the open transaction cannot be committed with a change whose record could
    /// not be written, where [`within_transaction`](Self::within_transaction) does not.
    #[doc(hidden)]
    fn spoil_transaction<C: LoadConnection<Backend = Self>>(conn: &mut C);
}

/// Keeps [`Dialect`] out of the public API.
#[doc(hidden)]
#[derive(Debug, Clone, Copy)]
pub struct BackendDialect(pub(crate) Dialect);

/// Keeps [`EntryToStore`] out of the public API.
#[doc(hidden)]
#[derive(Debug)]
pub struct EntriesToStore(pub(crate) Vec<EntryToStore>);

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

    fn store<C: LoadConnection<Backend = Self>>(
        conn: &mut C,
        entries: &EntriesToStore,
    ) -> QueryResult<()> {
        crate::store::postgres::insert(conn, &entries.0)
    }

    /// A statement that fails aborts the transaction.
    fn within_transaction<C: LoadConnection<Backend = Self>, T>(
        conn: &mut C,
        run: impl FnOnce(&mut C) -> QueryResult<T>,
    ) -> QueryResult<T> {
        run(conn)
    }

    /// An error on this side aborts nothing, so another one has to be made on the other.
    fn spoil_transaction<C: LoadConnection<Backend = Self>>(conn: &mut C) {
        let _ = conn.batch_execute(
            "DO 'BEGIN RAISE EXCEPTION ''an audit record could not be written''; END'",
        );
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

    fn store<C: LoadConnection<Backend = Self>>(
        conn: &mut C,
        entries: &EntriesToStore,
    ) -> QueryResult<()> {
        crate::store::sqlite::insert(conn, &entries.0)
    }

    /// A statement that fails leaves the transaction as it was, with what ran before it: so both
    /// the change and its record need a savepoint. It is written as SQL, as Diesel's does not
    /// know of a transaction that was opened so.
    fn within_transaction<C: LoadConnection<Backend = Self>, T>(
        conn: &mut C,
        run: impl FnOnce(&mut C) -> QueryResult<T>,
    ) -> QueryResult<T> {
        conn.batch_execute("SAVEPOINT audited_statement")?;
        let result = run(conn);
        let end = match result {
            Ok(_) => "RELEASE audited_statement",
            Err(_) => "ROLLBACK TO audited_statement; RELEASE audited_statement",
        };
        // Where the error has ended the whole transaction, the savepoint is gone with it.
        let ended = conn.batch_execute(end);
        let value = result?;
        ended.map(|()| value)
    }

    fn spoil_transaction<C: LoadConnection<Backend = Self>>(_: &mut C) {}
}
