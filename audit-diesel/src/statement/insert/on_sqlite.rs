//! SQLite: where a column is left to the database in some rows, Diesel inserts them one by one, and
//! it keeps the types of all that to itself. So Diesel runs the insert here as well, on a connection
//! that completes each statement.

use audit_core::ChangeKind;
use diesel::connection::{
    CacheSize, Connection, Instrumentation, SimpleConnection, TransactionManager,
    TransactionManagerStatus,
};
use diesel::dsl;
use diesel::insertable::Insertable;
use diesel::internal::derives::multiconnection::ConnectionSealed;
use diesel::query_builder::{InsertStatement, Query, QueryFragment, QueryId};
use diesel::query_dsl::methods::ExecuteDsl;
use diesel::query_dsl::{LoadQuery, RunQueryDsl};
use diesel::result::{ConnectionError, ConnectionResult, QueryResult};
use diesel::sqlite::Sqlite;
use diesel::{QuerySource, SelectableExpression, SqliteConnection, Table};

use super::on_conflict::{Insert, OnConflictDoNothing};
use super::select::rendered;
use super::{InsertReturning, InsertValues, Loaded, Output, record_rows};
use crate::model::{AuditedColumns, AuditedModel};
use crate::recorder::own;
use crate::relation::Write;
use crate::statement::{ChangeStatement, relation};

/// Appends a conflict clause and RETURNING to each INSERT, and keeps the rows.
pub struct Completing<'conn, C, R, L> {
    conn: &'conn mut SqliteConnection,
    conflict: C,
    returning: R,
    rows: Vec<L>,
}

type Completed<'a, C, R> = InsertReturning<&'a dyn QueryFragment<Sqlite>, &'a C, &'a R>;

type Values<T, V> = <V as Insertable<T>>::Values;
type ReturningRows<T, V, M, E> =
    dsl::Returning<InsertStatement<T, Values<T, V>>, (<M as AuditedColumns>::Columns, E)>;

impl<'query, T, V, M, E, X> ChangeStatement<'query, SqliteConnection, M, E, X>
    for InsertValues<T, V>
where
    T: Table,
    T::FromClause: QueryFragment<Sqlite>,
    V: Insertable<T>,
    M: AuditedModel<Table = T>,
    X: Output,
    ReturningRows<T, V, M, E>: Query + LoadQuery<'query, SqliteConnection, Loaded<M, X>>,
{
    fn run(self, extra: E, conn: &mut SqliteConnection) -> QueryResult<Vec<X>> {
        relation::check::<M, _>(Write::Insert, conn)?;
        let statement = diesel::insert_into(self.table)
            .values(self.records)
            .returning((M::columns(), extra));
        let rows = own(conn, |conn| statement.load(conn))?;
        record_rows(conn, ChangeKind::Insert, rows)
    }
}

impl<'query, S, C, M, E, X> ChangeStatement<'query, SqliteConnection, M, E, X>
    for OnConflictDoNothing<S, C>
where
    S: Insert,
    <S::Table as QuerySource>::FromClause: QueryFragment<Sqlite>,
    M: AuditedModel<Table = S::Table>,
    X: Output,
    (M::Columns, E): SelectableExpression<S::Table>,
    for<'conn> S::Fragment: ExecuteDsl<Completing<'conn, C, (M::Columns, E), Loaded<M, X>>, Sqlite>,
    for<'conn> Completing<'conn, C, (M::Columns, E), Loaded<M, X>>: Connection<Backend = Sqlite>,
{
    fn run(self, extra: E, conn: &mut SqliteConnection) -> QueryResult<Vec<X>> {
        relation::check::<M, _>(Write::Insert, conn)?;
        let rows = own(conn, |conn| {
            let mut completing = Completing {
                conn,
                conflict: self.target,
                returning: (M::columns(), extra),
                rows: Vec::new(),
            };
            S::Fragment::execute(self.insert.into_fragment(), &mut completing)?;
            QueryResult::Ok(completing.rows)
        })?;
        record_rows(conn, ChangeKind::Insert, rows)
    }
}

impl<C, R, L> ConnectionSealed for Completing<'_, C, R, L> {}

impl<C, R, L> SimpleConnection for Completing<'_, C, R, L> {
    fn batch_execute(&mut self, query: &str) -> QueryResult<()> {
        self.conn.batch_execute(query)
    }
}

impl<C: Send, R: Send, L: Send> Connection for Completing<'_, C, R, L>
where
    for<'a> Completed<'a, C, R>: LoadQuery<'a, SqliteConnection, L>,
{
    type Backend = Sqlite;
    type TransactionManager = Transactions;

    fn establish(_: &str) -> ConnectionResult<Self> {
        Err(ConnectionError::BadConnection(
            "it wraps another one".into(),
        ))
    }

    fn execute_returning_count<T>(&mut self, source: &T) -> QueryResult<usize>
    where
        T: QueryFragment<Sqlite> + QueryId,
    {
        // Diesel renders an insert of no rows as a SELECT, which no conflict clause may follow.
        if rendered(source)?.starts_with("SELECT") {
            return Ok(0);
        }
        let completed: Completed<'_, C, R> = InsertReturning {
            insert: source,
            conflict: &self.conflict,
            returning: &self.returning,
            prepare: false,
        };
        let rows = completed.load(self.conn)?;
        let count = rows.len();
        self.rows.extend(rows);
        Ok(count)
    }

    fn transaction_state(
        &mut self,
    ) -> &mut <Inner as TransactionManager<SqliteConnection>>::TransactionStateData {
        self.conn.transaction_state()
    }

    fn instrumentation(&mut self) -> &mut dyn Instrumentation {
        self.conn.instrumentation()
    }

    fn set_instrumentation(&mut self, instrumentation: impl Instrumentation) {
        self.conn.set_instrumentation(instrumentation);
    }

    fn set_prepared_statement_cache_size(&mut self, size: CacheSize) {
        self.conn.set_prepared_statement_cache_size(size);
    }
}

type Inner = <SqliteConnection as Connection>::TransactionManager;

/// The transactions of the connection inside.
pub struct Transactions;

impl<'conn, C, R, L> TransactionManager<Completing<'conn, C, R, L>> for Transactions
where
    Completing<'conn, C, R, L>: Connection<Backend = Sqlite, TransactionManager = Self>,
{
    type TransactionStateData =
        <Inner as TransactionManager<SqliteConnection>>::TransactionStateData;

    fn begin_transaction(conn: &mut Completing<'conn, C, R, L>) -> QueryResult<()> {
        Inner::begin_transaction(conn.conn)
    }

    fn rollback_transaction(conn: &mut Completing<'conn, C, R, L>) -> QueryResult<()> {
        Inner::rollback_transaction(conn.conn)
    }

    fn commit_transaction(conn: &mut Completing<'conn, C, R, L>) -> QueryResult<()> {
        Inner::commit_transaction(conn.conn)
    }

    fn transaction_manager_status_mut<'a>(
        conn: &'a mut Completing<'conn, C, R, L>,
    ) -> &'a mut TransactionManagerStatus {
        Inner::transaction_manager_status_mut(conn.conn)
    }
}
