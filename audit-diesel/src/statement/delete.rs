//! `audited::delete`.

use std::rc::Rc;

use audit_core::{CapturedContext, ChangeKind};
use diesel::backend::Backend;
use diesel::deserialize::FromSqlRow;
use diesel::dsl::{self, Filter, IntoBoxed, OrFilter};
use diesel::query_builder::{AstPass, DeleteStatement, IntoUpdateTarget, Query, QueryFragment};
use diesel::query_dsl::methods::{BoxedDsl, FilterDsl, OrFilterDsl};
use diesel::result::QueryResult;
use diesel::sql_types::Untyped;
use diesel::{QuerySource, SelectableExpression, Table};

use super::columns::{Columns, ColumnsAnd};
use super::debug::{ShowSql, ShownBackend, rendered};
use super::plan::run_planned;
use super::recording::Recording;
use super::row::Output;
use super::{Audited, ChangeStatement, TargetTable, relation};
use crate::connection::RawConnection;
use crate::model::{AuditedBy, AuditedModel, AuditedRow, StoredValues};
use crate::relation::Write;

/// Deletes rows and records each of them; stands where `diesel::delete` stood.
///
/// The deleted rows are read by the same statement. Rows of other tables that the database deletes
/// along with them (`ON DELETE CASCADE`) are not seen: delete those first, through `audited::`.
///
/// ```
/// # #[cfg(feature = "sqlite")]
/// # mod example {
/// # include!("../../docs/accounts.rs");
/// # pub fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let (queue, mut conn) = accounts_in_memory()?;
/// # let conn = &mut conn;
/// # audited::insert_into(accounts::table).values(accounts::email.eq("ada@example.com")).execute(conn)?;
/// let emails: Vec<String> = audited::delete(accounts::table.filter(accounts::closed.eq(false)))
///     .returning(accounts::email)
///     .get_results(conn)?;
/// assert_eq!(emails, ["ada@example.com"]);
/// # assert_eq!(queue.records()?.len(), 2);
/// # Ok(())
/// # }
/// # }
/// # #[cfg(feature = "sqlite")]
/// # example::main().unwrap();
/// ```
pub fn delete<T, M>(source: T) -> Audited<DeleteStatement<T::Table, T::WhereClause>, M>
where
    T: IntoUpdateTarget,
    T::Table: AuditedBy<M>,
    M: AuditedModel<Table = T::Table>,
{
    Audited::new(diesel::delete(source), CapturedContext::here())
}

impl<T: QuerySource, U, M, R> Audited<DeleteStatement<T, U>, M, R> {
    /// Adds a predicate with AND, as Diesel's `filter` does.
    pub fn filter<P>(self, predicate: P) -> Audited<Filter<DeleteStatement<T, U>, P>, M, R>
    where
        DeleteStatement<T, U>: FilterDsl<P>,
    {
        self.map(|statement| statement.filter(predicate))
    }

    /// Adds a predicate with OR, as Diesel's `or_filter` does.
    pub fn or_filter<P>(self, predicate: P) -> Audited<OrFilter<DeleteStatement<T, U>, P>, M, R>
    where
        DeleteStatement<T, U>: OrFilterDsl<P>,
    {
        self.map(|statement| statement.or_filter(predicate))
    }

    /// Boxes the WHERE clause, as Diesel's `into_boxed` does.
    pub fn into_boxed<'a, DB>(self) -> Audited<IntoBoxed<'a, DeleteStatement<T, U>, DB>, M, R>
    where
        DB: Backend,
        DeleteStatement<T, U>: BoxedDsl<'a, DB>,
    {
        self.map(|statement| statement.into_boxed())
    }
}

impl<T, U, M, R, P> FilterDsl<P> for Audited<DeleteStatement<T, U>, M, R>
where
    T: QuerySource,
    DeleteStatement<T, U>: FilterDsl<P>,
{
    type Output = Audited<Filter<DeleteStatement<T, U>, P>, M, R>;

    fn filter(self, predicate: P) -> Self::Output {
        self.filter(predicate)
    }
}

impl<T, U, M, R, P> OrFilterDsl<P> for Audited<DeleteStatement<T, U>, M, R>
where
    T: QuerySource,
    DeleteStatement<T, U>: OrFilterDsl<P>,
{
    type Output = Audited<OrFilter<DeleteStatement<T, U>, P>, M, R>;

    fn or_filter(self, predicate: P) -> Self::Output {
        self.or_filter(predicate)
    }
}

impl<'a, T, U, M, R, DB> BoxedDsl<'a, DB> for Audited<DeleteStatement<T, U>, M, R>
where
    T: QuerySource,
    DB: Backend,
    DeleteStatement<T, U>: BoxedDsl<'a, DB>,
{
    type Output = Audited<IntoBoxed<'a, DeleteStatement<T, U>, DB>, M, R>;

    fn internal_into_boxed(self) -> Self::Output {
        self.into_boxed()
    }
}

impl<T: Table, U> TargetTable for DeleteStatement<T, U> {
    type Table = T;
}

impl<'query, Conn, T, U, M, E, X> ChangeStatement<'query, Conn, M, E, X> for DeleteStatement<T, U>
where
    Conn: RawConnection,
    T: Table + 'query,
    U: 'query,
    M: AuditedModel<Table = T> + AuditedRow<Conn::Backend>,
    X: Output + FromSqlRow<E::SqlType, Conn::Backend>,
    E: SelectableExpression<T> + 'query,
    T::FromClause: QueryFragment<Conn::Backend>,
    Conn::Backend: Default,
    <Conn::Backend as Backend>::QueryBuilder: Default,
    Self: QueryFragment<Conn::Backend>,
    dsl::Returning<Self, ColumnsAnd<M, E>>: Query<SqlType = Untyped> + QueryFragment<Conn::Backend>,
{
    fn run(self, extra: E, conn: &mut Conn) -> QueryResult<Vec<X>> {
        let filtered = is_filtered::<M, _, _>(&self)?;
        relation::writable::<M, Conn>(Write::Delete { filtered }, |_| true, conn)?;
        let columns = Columns::of::<M, Conn>();
        let statement = Rc::new(self.returning(ColumnsAnd::new(columns, extra)));
        let mut recording = Recording::begin::<M, _>(conn)?;
        let outputs = run_planned::<M, _, _>(conn, |plan, conn| {
            let statement = plan.of(&statement);
            recording.load::<M, E::SqlType, X, _, _>(ChangeKind::Delete, statement, conn)
        })?;
        recording.finish(conn)?;
        Ok(outputs)
    }
}

/// A delete, by reference, with what it returns.
struct DeleteReturning<'a, S, R> {
    delete: &'a S,
    returning: R,
}

impl<S, R, DB> QueryFragment<DB> for DeleteReturning<'_, S, R>
where
    DB: Backend,
    S: QueryFragment<DB>,
    R: QueryFragment<DB>,
{
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, DB>) -> QueryResult<()> {
        self.delete.walk_ast(out.reborrow())?;
        out.push_sql(" RETURNING ");
        self.returning.walk_ast(out)
    }
}

impl<T, U, M, DB> ShowSql<DB, M> for DeleteStatement<T, U>
where
    DB: ShownBackend,
    T: Table,
    M: AuditedModel<Table = T> + AuditedRow<DB>,
    Self: QueryFragment<DB>,
{
    fn show(&self, extra: &dyn QueryFragment<DB>) -> QueryResult<String> {
        rendered(&DeleteReturning {
            delete: self,
            returning: ColumnsAnd::<M, _>::new(Columns::of::<M, DB::Connection>(), extra),
        })
    }
}

/// Whether the statement names rows at all.
fn is_filtered<M, DB, S>(statement: &S) -> QueryResult<bool>
where
    M: AuditedModel,
    <M::Table as QuerySource>::FromClause: QueryFragment<DB>,
    DB: StoredValues + Default,
    S: QueryFragment<DB>,
{
    let sql = rendered(statement)?;
    let table = &relation::names_of::<M, DB>()?.table;
    Ok(sql.trim_end().strip_prefix("DELETE FROM ") != Some(table))
}
