//! `on_conflict_do_nothing` and `on_conflict(target).do_nothing()`.

use std::fmt;

use diesel::backend::Backend;
use diesel::expression::Expression;
use diesel::insertable::Insertable;
use diesel::query_builder::{AstPass, InsertStatement, QueryFragment};
use diesel::result::QueryResult;
use diesel::{SelectableExpression, Table};

use super::select::{rendered, unqualified};
use super::{InsertFromSelect, InsertValues};
use crate::statement::{Audited, TargetTable};

/// An insert that skips rows which exist already. Skipped rows make no record.
#[derive(Clone)]
pub struct OnConflictDoNothing<S, T> {
    pub(super) insert: S,
    pub(super) target: T,
}

/// An insert with a conflict target, before `do_nothing`.
#[derive(Clone)]
#[must_use = "call `do_nothing()`"]
pub struct IncompleteOnConflict<S, M, R, T> {
    insert: Audited<S, M, R>,
    target: T,
}

impl<S, M, R, T> fmt::Debug for IncompleteOnConflict<S, M, R, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IncompleteOnConflict")
            .finish_non_exhaustive()
    }
}

impl<S: Insert, M, R> Audited<S, M, R> {
    /// Skips rows that violate any unique constraint, as Diesel's `on_conflict_do_nothing` does.
    ///
    /// On SQLite a select of whole rows needs a filter here, or
    /// [`into_columns`](Self::into_columns): right after a table's name it takes ON for a join's.
    pub fn on_conflict_do_nothing(self) -> Audited<OnConflictDoNothing<S, AnyConflict>, M, R> {
        self.map(|insert| OnConflictDoNothing {
            insert,
            target: AnyConflict,
        })
    }

    /// Names the columns whose unique constraint may be violated, as Diesel's `on_conflict` does; for
    /// a partial index it is SQL, `sql("(email) WHERE deleted_at IS NULL")`.
    pub fn on_conflict<C>(self, columns: C) -> IncompleteOnConflict<S, M, R, ConflictTarget<C>>
    where
        C: Expression + SelectableExpression<S::Table>,
    {
        IncompleteOnConflict {
            insert: self,
            target: ConflictTarget(columns),
        }
    }
}

impl<S, M, R, T> IncompleteOnConflict<S, M, R, T> {
    /// Skips rows that violate it.
    pub fn do_nothing(self) -> Audited<OnConflictDoNothing<S, T>, M, R> {
        let target = self.target;
        self.insert
            .map(|insert| OnConflictDoNothing { insert, target })
    }
}

impl<S: TargetTable, T> TargetTable for OnConflictDoNothing<S, T> {
    type Table = S::Table;
}

/// Any unique constraint.
#[derive(Debug, Clone, Copy)]
pub struct AnyConflict;

impl<DB: Backend> QueryFragment<DB> for AnyConflict {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, DB>) -> QueryResult<()> {
        out.push_sql(" ON CONFLICT DO NOTHING");
        Ok(())
    }
}

/// The unique constraint over these columns.
#[derive(Debug, Clone, Copy)]
pub struct ConflictTarget<C>(C);

impl<C, DB> QueryFragment<DB> for ConflictTarget<C>
where
    DB: Backend + Default,
    DB::QueryBuilder: Default,
    C: QueryFragment<DB>,
{
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, DB>) -> QueryResult<()> {
        let target = rendered(&self.0)?;
        out.push_sql(" ON CONFLICT ");
        if target.starts_with(['"', '`']) {
            out.push_sql("(");
            out.push_sql(&unqualified(&target));
            out.push_sql(")");
        } else {
            // SQL of the caller's, which has its parentheses, as Diesel takes it.
            self.0.walk_ast(out.reborrow())?;
        }
        out.push_sql(" DO NOTHING");
        Ok(())
    }
}

/// An insert as a fragment that a conflict clause can follow.
pub trait Insert: TargetTable {
    /// `INSERT INTO … VALUES …`
    type Fragment;

    /// The fragment.
    fn into_fragment(self) -> Self::Fragment;
}

impl<T: Table, V: Insertable<T>> Insert for InsertValues<T, V> {
    type Fragment = InsertStatement<T, V::Values>;

    fn into_fragment(self) -> Self::Fragment {
        diesel::insert_into(self.table).values(self.records)
    }
}

impl<T: Table, V, C> Insert for InsertFromSelect<T, V, C> {
    type Fragment = InsertFromSelect<T, BeforeConflict<V>, C>;

    fn into_fragment(self) -> Self::Fragment {
        self.map_select(BeforeConflict)
    }
}

/// A select that `ON CONFLICT` can follow.
#[derive(Clone)]
pub struct BeforeConflict<V>(V);

#[cfg(feature = "postgres")]
impl<V: QueryFragment<diesel::pg::Pg>> QueryFragment<diesel::pg::Pg> for BeforeConflict<V> {
    fn walk_ast<'b>(&'b self, out: AstPass<'_, 'b, diesel::pg::Pg>) -> QueryResult<()> {
        self.0.walk_ast(out)
    }
}

#[cfg(feature = "sqlite")]
impl<V: QueryFragment<diesel::sqlite::Sqlite>> QueryFragment<diesel::sqlite::Sqlite>
    for BeforeConflict<V>
{
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, diesel::sqlite::Sqlite>) -> QueryResult<()> {
        // Right after a table, SQLite takes ON for the beginning of a join's condition.
        out.push_sql("SELECT * FROM (");
        self.0.walk_ast(out.reborrow())?;
        out.push_sql(") WHERE 1");
        Ok(())
    }
}
