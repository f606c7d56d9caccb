//! `audited::insert_into`.
//!
//! Diesel's insert statement keeps the traits behind `on_conflict` and `into_columns` to itself, so
//! these two are written here; everything else is Diesel's statement.

mod on_conflict;
#[cfg(feature = "postgres")]
mod on_postgres;
#[cfg(feature = "sqlite")]
mod on_sqlite;
mod select;

pub use on_conflict::IncompleteOnConflict;

use std::marker::PhantomData;
use std::rc::Rc;

use audit_core::{CapturedContext, ChangeKind};
use diesel::backend::Backend;
use diesel::deserialize::FromSqlRow;
use diesel::expression::{Expression, NonAggregate};
use diesel::insertable::Insertable;
use diesel::query_builder::{AstPass, Query, QueryFragment, QueryId};
use diesel::query_dsl::RunQueryDsl;
use diesel::result::QueryResult;
use diesel::{QuerySource, SelectableExpression, Table};

use super::columns::{Columns, ColumnsAnd};
use super::plan::run_planned;
use super::recording::Recording;
use super::row::Output;
use super::{Audited, ChangeStatement, TargetTable, relation};
use crate::connection::RawConnection;
use crate::model::{AuditedBy, AuditedModel, AuditedRow};
use crate::relation::Write;
use select::InsertFromSelect;
pub(super) use select::rendered;

/// Inserts rows and records each of them; stands where `diesel::insert_into` stood.
///
/// The new rows are read by the same statement, with what the database filled in.
///
/// `on_conflict(…).do_update()` is not offered yet, as RETURNING does not tell a new row from an
/// updated one. Until it is, update first, and insert with
/// [`on_conflict(…).do_nothing()`](Audited::on_conflict) where that found no row.
pub fn insert_into<T, M>(target: T) -> IncompleteInsert<T, M>
where
    T: AuditedBy<M>,
    M: AuditedModel<Table = T>,
{
    IncompleteInsert {
        table: target,
        built_in: CapturedContext::here(),
        model: PhantomData,
    }
}

/// An audited insert without values; see [`insert_into`].
#[derive(Debug, Clone)]
#[must_use = "statements are only executed when calling `execute`, `get_result` or similar"]
pub struct IncompleteInsert<T, M> {
    table: T,
    built_in: CapturedContext,
    model: PhantomData<fn() -> M>,
}

impl<T: Table, M> IncompleteInsert<T, M> {
    /// Says what to insert, as Diesel's `values` does: one or many structs or tuples, or a select.
    pub fn values<V>(self, records: V) -> Audited<InsertValues<T, V>, M>
    where
        V: Insertable<T>,
    {
        let insert = InsertValues {
            table: self.table,
            records,
        };
        Audited::new(insert, self.built_in)
    }

    /// Inserts a row of default values, as Diesel's `default_values` does.
    pub fn default_values(self) -> Audited<InsertDefaults<T>, M> {
        let insert = InsertDefaults {
            from_clause: self.table.from_clause(),
        };
        Audited::new(insert, self.built_in)
    }
}

/// An insert of values; see [`IncompleteInsert::values`].
#[derive(Clone)]
pub struct InsertValues<T, V> {
    table: T,
    records: V,
}

impl<T: Table, V> TargetTable for InsertValues<T, V> {
    type Table = T;
}

/// An insert of default values; see [`IncompleteInsert::default_values`].
#[derive(Debug, Clone)]
pub struct InsertDefaults<T: Table> {
    from_clause: T::FromClause,
}

impl<T: Table> TargetTable for InsertDefaults<T> {
    type Table = T;
}

impl<T: Table> QueryId for InsertDefaults<T> {
    type QueryId = ();
    const HAS_STATIC_QUERY_ID: bool = false;
}

impl<T, DB> QueryFragment<DB> for InsertDefaults<T>
where
    DB: Backend,
    T: Table,
    T::FromClause: QueryFragment<DB>,
{
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, DB>) -> QueryResult<()> {
        out.push_sql("INSERT INTO ");
        self.from_clause.walk_ast(out.reborrow())?;
        out.push_sql(" DEFAULT VALUES");
        Ok(())
    }
}

/// An insert that Diesel's types cannot be asked to complete, with what it returns.
pub struct InsertReturning<S, C, R> {
    insert: S,
    conflict: C,
    returning: R,
    /// Whether to keep it prepared though Diesel would not: a new row with optional fields has
    /// several forms.
    prepare: bool,
}

impl<S, C, R> QueryId for InsertReturning<S, C, R> {
    type QueryId = ();
    const HAS_STATIC_QUERY_ID: bool = false;
}

impl<S, C, R: Expression> Query for InsertReturning<S, C, R> {
    type SqlType = R::SqlType;
}

impl<S, C, R, Conn> RunQueryDsl<Conn> for InsertReturning<S, C, R> {}

impl<S, C, R, DB> QueryFragment<DB> for InsertReturning<S, C, R>
where
    DB: Backend,
    S: QueryFragment<DB>,
    C: QueryFragment<DB>,
    R: QueryFragment<DB>,
{
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, DB>) -> QueryResult<()> {
        self.insert.walk_ast(out.reborrow())?;
        self.conflict.walk_ast(out.reborrow())?;
        out.push_sql(" RETURNING ");
        self.returning.walk_ast(out.reborrow())
    }

    fn is_safe_to_cache_prepared(&self, backend: &DB) -> QueryResult<bool> {
        Ok(
            (self.prepare || self.insert.is_safe_to_cache_prepared(backend)?)
                && self.conflict.is_safe_to_cache_prepared(backend)?
                && self.returning.is_safe_to_cache_prepared(backend)?,
        )
    }
}

/// Bounds of an insert that is completed here: it renders, and what it returns loads.
trait RunInsert<'query, Conn, M, E, X>: Sized {
    fn run_insert(self, conn: &mut Conn) -> QueryResult<Vec<X>>;
}

impl<'query, Conn, M, E, X, S, C> RunInsert<'query, Conn, M, E, X>
    for InsertReturning<S, C, ColumnsAnd<M, E>>
where
    Conn: RawConnection,
    M: AuditedModel + AuditedRow<Conn::Backend>,
    X: Output + FromSqlRow<E::SqlType, Conn::Backend>,
    E: SelectableExpression<M::Table> + NonAggregate,
    <M::Table as QuerySource>::FromClause: QueryFragment<Conn::Backend>,
    Conn::Backend: Default,
    <Conn::Backend as Backend>::QueryBuilder: Default,
    Self: QueryFragment<Conn::Backend> + 'query,
{
    fn run_insert(self, conn: &mut Conn) -> QueryResult<Vec<X>> {
        relation::check::<M, Conn>(Write::Insert, conn)?;
        let insert = Rc::new(self);
        let mut recording = Recording::begin::<M, _>(conn)?;
        let outputs = run_planned::<M, _, _>(conn, |plan, conn| {
            let insert = plan.of(&insert);
            recording.load::<M, E::SqlType, X, _, _>(ChangeKind::Insert, insert, conn)
        })?;
        recording.finish(conn)?;
        Ok(outputs)
    }
}

/// No conflict clause.
#[derive(Debug, Clone, Copy)]
pub struct NoConflict;

impl<DB: Backend> QueryFragment<DB> for NoConflict {
    fn walk_ast<'b>(&'b self, _: AstPass<'_, 'b, DB>) -> QueryResult<()> {
        Ok(())
    }
}

impl<'query, Conn, T, M, E, X> ChangeStatement<'query, Conn, M, E, X> for InsertDefaults<T>
where
    T: Table,
    M: AuditedModel<Table = T>,
    Conn: RawConnection,
    M: AuditedRow<Conn::Backend>,
    InsertReturning<Self, NoConflict, ColumnsAnd<M, E>>: RunInsert<'query, Conn, M, E, X>,
{
    fn run(self, extra: E, conn: &mut Conn) -> QueryResult<Vec<X>> {
        InsertReturning {
            insert: self,
            conflict: NoConflict,
            returning: ColumnsAnd::new(Columns::of::<M, Conn>(), extra),
            prepare: false,
        }
        .run_insert(conn)
    }
}
