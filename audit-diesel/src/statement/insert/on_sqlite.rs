//! SQLite: where a column is left to the database in some rows, Diesel inserts them one by one, and
//! it keeps the types of all that to itself. So Diesel runs the insert here as well, on a connection
//! that completes each statement.

use diesel::connection::{
    CacheSize, Connection, Instrumentation, SimpleConnection, TransactionManager,
    TransactionManagerStatus,
};
use diesel::dsl;
use diesel::expression::Expression;
use diesel::insertable::Insertable;
use diesel::internal::derives::multiconnection::ConnectionSealed;
use diesel::query_builder::{
    InsertOrIgnoreStatement, InsertStatement, Query, QueryFragment, QueryId,
};
use diesel::query_dsl::methods::ExecuteDsl;
use diesel::query_dsl::{LoadQuery, RunQueryDsl};
use diesel::result::{ConnectionError, ConnectionResult, QueryResult};
use diesel::sqlite::Sqlite;
use diesel::{QuerySource, SelectableExpression, SqliteConnection, Table};

use super::on_conflict::{DoNothing, InsertFragment, OnConflictDoNothing};
use super::{InsertOrIgnore, InsertReturning, InsertValues, NoConflict, is_of_no_rows};
use crate::model::{AuditedModel, AuditedRow};
use crate::recorder::own;
use crate::relation::Write;
use crate::statement::columns::{Columns, ColumnsAnd, RowOf};
use crate::statement::debug::rendered;
use crate::statement::recording::Recording;
use crate::statement::row::Output;
use crate::statement::row_changes::RowChange;
use crate::statement::sqlite::{KeptAnd, KeptRow};
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
type ReturningRows<T, V, M, E> = dsl::Returning<InsertStatement<T, Values<T, V>>, ColumnsAnd<M, E>>;
type Rows<M, X, E> = KeptAnd<M, X, <E as Expression>::SqlType>;

impl<'query, T, V, M, E, X> ChangeStatement<'query, SqliteConnection, M, E, X>
    for InsertValues<T, V>
where
    T: Table,
    T::FromClause: QueryFragment<Sqlite>,
    V: Insertable<T>,
    M: AuditedModel<Table = T> + AuditedRow<Sqlite>,
    X: Output,
    E: SelectableExpression<T>,
    ReturningRows<T, V, M, E>: Query + LoadQuery<'query, SqliteConnection, Rows<M, X, E>>,
{
    fn run(self, extra: E, conn: &mut SqliteConnection) -> QueryResult<Vec<X>> {
        relation::writable::<M, _>(Write::Insert { counted: true }, |_| true, conn)?;
        let columns = Columns::of::<M, SqliteConnection>();
        let statement = diesel::insert_into(self.table)
            .values(self.records)
            .returning(ColumnsAnd::new(columns, extra));
        let rows = own(conn, |conn| statement.load(conn))?;
        record_rows::<M, X, E::SqlType>(rows, conn)
    }
}

/// Diesel's insert of rows that violate no constraint.
type OrIgnore<T, V> = InsertOrIgnoreStatement<T, Values<T, V>>;

/// Diesel would load the rows as well, but takes a skipped one among several for an error.
impl<'query, T, V, M, E, X> ChangeStatement<'query, SqliteConnection, M, E, X>
    for InsertValues<T, V, InsertOrIgnore>
where
    T: Table,
    T::FromClause: QueryFragment<Sqlite>,
    V: Insertable<T>,
    M: AuditedModel<Table = T> + AuditedRow<Sqlite>,
    X: Output,
    E: SelectableExpression<T>,
    for<'conn> OrIgnore<T, V>:
        ExecuteDsl<Completing<'conn, NoConflict, ColumnsAnd<M, E>, Rows<M, X, E>>, Sqlite>,
    for<'conn> Completing<'conn, NoConflict, ColumnsAnd<M, E>, Rows<M, X, E>>:
        Connection<Backend = Sqlite>,
{
    fn run(self, extra: E, conn: &mut SqliteConnection) -> QueryResult<Vec<X>> {
        let insert = diesel::insert_or_ignore_into(self.table).values(self.records);
        run_completed::<_, _, M, E, X>(insert, NoConflict, extra, conn)
    }
}

impl<'query, S, C, M, E, X> ChangeStatement<'query, SqliteConnection, M, E, X>
    for OnConflictDoNothing<S, C>
where
    S: InsertFragment,
    <S::Table as QuerySource>::FromClause: QueryFragment<Sqlite>,
    M: AuditedModel<Table = S::Table> + AuditedRow<Sqlite>,
    X: Output,
    E: SelectableExpression<S::Table>,
    for<'conn> S::Fragment:
        ExecuteDsl<Completing<'conn, DoNothing<C>, ColumnsAnd<M, E>, Rows<M, X, E>>, Sqlite>,
    for<'conn> Completing<'conn, DoNothing<C>, ColumnsAnd<M, E>, Rows<M, X, E>>:
        Connection<Backend = Sqlite>,
{
    fn run(self, extra: E, conn: &mut SqliteConnection) -> QueryResult<Vec<X>> {
        let insert = self.insert.into_fragment();
        run_completed::<_, _, M, E, X>(insert, DoNothing(self.target), extra, conn)
    }
}

/// Has Diesel run the insert, with what it lacks, and records the rows.
fn run_completed<I, C, M, E, X>(
    insert: I,
    conflict: C,
    extra: E,
    conn: &mut SqliteConnection,
) -> QueryResult<Vec<X>>
where
    M: AuditedModel + AuditedRow<Sqlite>,
    <M::Table as QuerySource>::FromClause: QueryFragment<Sqlite>,
    X: Output,
    E: Expression,
    for<'conn> I: ExecuteDsl<Completing<'conn, C, ColumnsAnd<M, E>, Rows<M, X, E>>, Sqlite>,
    for<'conn> Completing<'conn, C, ColumnsAnd<M, E>, Rows<M, X, E>>: Connection<Backend = Sqlite>,
{
    relation::writable::<M, _>(Write::Insert { counted: true }, |_| true, conn)?;
    let columns = Columns::of::<M, SqliteConnection>();
    let rows = own(conn, |conn| {
        let mut completing = Completing {
            conn,
            conflict,
            returning: ColumnsAnd::new(columns, extra),
            rows: Vec::new(),
        };
        I::execute(insert, &mut completing)?;
        QueryResult::Ok(completing.rows)
    })?;
    record_rows::<M, X, E::SqlType>(rows, conn)
}

/// Records inserted rows, and passes on what else they returned.
fn record_rows<M, X, ST>(
    rows: Vec<KeptAnd<M, X, ST>>,
    conn: &mut SqliteConnection,
) -> QueryResult<Vec<X>>
where
    M: AuditedModel + AuditedRow<Sqlite>,
    X: Output,
{
    let mut recording = Recording::begin::<M, _>(conn)?;
    let mut outputs = Vec::with_capacity(rows.len());
    for KeptAnd { row, extra, .. } in rows {
        let change = RowChange::<KeptRow, _>::Insert(row);
        recording.add::<M, Sqlite, RowOf<SqliteConnection>, _, _>(&change, extra.mark());
        outputs.push(extra);
    }
    recording.finish(conn)?;
    Ok(outputs)
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
        if is_of_no_rows(&rendered(source)?) {
            return Ok(0);
        }
        let completed: Completed<'_, C, R> = InsertReturning {
            insert: source,
            conflict: &self.conflict,
            returning: &self.returning,
            rows: None,
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
