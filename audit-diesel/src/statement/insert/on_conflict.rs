//! `on_conflict_do_nothing` and `on_conflict(target).do_nothing()`.

use std::fmt;

use diesel::backend::Backend;
use diesel::expression::{AppearsOnTable, Expression};
use diesel::insertable::Insertable;
use diesel::query_builder::{AstPass, InsertStatement, QueryFragment};
use diesel::result::QueryResult;
use diesel::sql_types::BoolOrNullableBool;
use diesel::{SelectableExpression, Table};

use super::select::unqualified;
use super::{InsertFromSelect, InsertValues};
use crate::statement::debug::rendered;
use crate::statement::{Audited, TargetTable};

/// An insert that skips rows which exist already. Skipped rows make no record.
#[derive(Clone, Copy)]
pub struct OnConflictDoNothing<S, T> {
    pub(super) insert: S,
    pub(super) target: T,
}

/// Without the values, some of which may be secrets.
impl<S, T> fmt::Debug for OnConflictDoNothing<S, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OnConflictDoNothing")
            .finish_non_exhaustive()
    }
}

/// An insert with a conflict target, before `do_nothing`.
#[must_use = "call `do_nothing()`"]
pub struct IncompleteOnConflict<S, M, R, T> {
    insert: Audited<S, M, R>,
    target: T,
}

impl<S: Clone, M, R: Clone, T: Clone> Clone for IncompleteOnConflict<S, M, R, T> {
    fn clone(&self) -> Self {
        Self {
            insert: self.insert.clone(),
            target: self.target.clone(),
        }
    }
}

impl<S: Copy, M, R: Copy, T: Copy> Copy for IncompleteOnConflict<S, M, R, T> {}

impl<S, M, R, T> fmt::Debug for IncompleteOnConflict<S, M, R, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IncompleteOnConflict")
            .finish_non_exhaustive()
    }
}

impl<S: InsertFragment, M, R> Audited<S, M, R> {
    /// Skips rows that violate any unique constraint, as Diesel's `on_conflict_do_nothing` does.
    ///
    /// On SQLite a select of whole rows needs a filter here, or
    /// [`into_columns`](Self::into_columns): right after a table's name it takes ON for a join's.
    ///
    /// ```
    /// # #[cfg(feature = "sqlite")]
    /// # mod example {
    /// # include!("../../../docs/accounts.rs");
    /// # pub fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let (queue, mut conn) = accounts_in_memory()?;
    /// # let conn = &mut conn;
    /// # audited::insert_into(accounts::table).values(accounts::email.eq("ada@example.com")).execute(conn)?;
    /// let again = audited::insert_into(accounts::table)
    ///     .values(accounts::email.eq("ada@example.com"))
    ///     .on_conflict_do_nothing()
    ///     .execute(conn)?;
    /// assert_eq!(again, 0);
    /// # assert_eq!(queue.records()?.len(), 1);
    /// # Ok(())
    /// # }
    /// # }
    /// # #[cfg(feature = "sqlite")]
    /// # example::main().unwrap();
    /// ```
    pub fn on_conflict_do_nothing(self) -> Audited<OnConflictDoNothing<S, AnyConflict>, M, R> {
        self.map(|insert| OnConflictDoNothing {
            insert,
            target: AnyConflict,
        })
    }

    /// Names the columns whose unique constraint may be violated, as Diesel's `on_conflict` does; for
    /// a partial index it is SQL, `sql("(email) WHERE deleted_at IS NULL")`.
    ///
    /// ```
    /// # #[cfg(feature = "sqlite")]
    /// # mod example {
    /// # include!("../../../docs/accounts.rs");
    /// # pub fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let (queue, mut conn) = accounts_in_memory()?;
    /// # let conn = &mut conn;
    /// # audited::insert_into(accounts::table).values(accounts::email.eq("ada@example.com")).execute(conn)?;
    /// let again: Option<Account> = audited::insert_into(accounts::table)
    ///     .values(accounts::email.eq("ada@example.com"))
    ///     .on_conflict(accounts::email)
    ///     .do_nothing()
    ///     .get_result(conn)
    ///     .optional()?;
    /// assert!(again.is_none());
    /// # assert_eq!(queue.records()?.len(), 1);
    /// # Ok(())
    /// # }
    /// # }
    /// # #[cfg(feature = "sqlite")]
    /// # example::main().unwrap();
    /// ```
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

impl<S: TargetTable, M, R, T> IncompleteOnConflict<S, M, R, T> {
    /// Adds the condition of a partial unique index to the target, as Diesel's `filter_target` does.
    ///
    /// ```
    /// # #[cfg(feature = "sqlite")]
    /// # mod example {
    /// # include!("../../../docs/accounts.rs");
    /// # pub fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let (queue, mut conn) = accounts_in_memory()?;
    /// # let conn = &mut conn;
    /// # diesel::sql_query("CREATE UNIQUE INDEX open ON accounts (balance) WHERE closed IS false").execute(conn)?;
    /// // CREATE UNIQUE INDEX open ON accounts (balance) WHERE closed IS false
    /// let insert = |email| {
    ///     audited::insert_into(accounts::table)
    ///         .values((accounts::email.eq(email), accounts::balance.eq(3)))
    ///         .on_conflict(accounts::balance)
    ///         .filter_target(diesel::dsl::sql::<diesel::sql_types::Bool>("closed IS false"))
    ///         .do_nothing()
    /// };
    /// assert_eq!(insert("ada@example.com").execute(conn)?, 1);
    /// assert_eq!(insert("bob@example.com").execute(conn)?, 0);
    /// # assert_eq!(queue.records()?.len(), 1);
    /// # Ok(())
    /// # }
    /// # }
    /// # #[cfg(feature = "sqlite")]
    /// # example::main().unwrap();
    /// ```
    pub fn filter_target<P>(
        self,
        predicate: P,
    ) -> IncompleteOnConflict<S, M, R, FilteredTarget<T, P>>
    where
        P: Expression + AppearsOnTable<S::Table>,
        P::SqlType: BoolOrNullableBool,
    {
        IncompleteOnConflict {
            insert: self.insert,
            target: FilteredTarget {
                target: self.target,
                predicate,
            },
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

    /// Only says that audited inserts have no `do_update` yet: to call it does not compile. What to
    /// write until then stands at [`insert_into`](super::insert_into).
    pub fn do_update(self) -> IncompleteDoUpdate<S, M, R>
    where
        Self: DoUpdate,
    {
        IncompleteDoUpdate(self.insert)
    }
}

/// What [`do_update`](IncompleteOnConflict::do_update) asks for, and nothing is.
#[diagnostic::on_unimplemented(
    message = "`do_update()` is not offered by audited inserts yet: whether a row is new or was updated \
               would not be known to the trail",
    label = "not offered yet",
    note = "update first; where that found no row, insert with `on_conflict(…).do_nothing()`; where that \
            inserted none, begin again. The documentation of `audited::insert_into` has this loop"
)]
pub trait DoUpdate {}

/// What would be an upsert before `set`: nothing makes one yet.
#[must_use = "call `set`"]
pub struct IncompleteDoUpdate<S, M, R>(Audited<S, M, R>);

impl<S, M, R> IncompleteDoUpdate<S, M, R> {
    /// Stands here so that the compiler speaks of `do_update` alone.
    pub fn set<V>(self, _: V) -> Audited<S, M, R> {
        self.0
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
        out.push_sql(" ON CONFLICT");
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
        Ok(())
    }
}

/// The unique constraint of a partial index, with the index's condition.
#[derive(Clone, Copy)]
pub struct FilteredTarget<T, P> {
    target: T,
    predicate: P,
}

/// Without the values that the condition compares with.
impl<T, P> fmt::Debug for FilteredTarget<T, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FilteredTarget").finish_non_exhaustive()
    }
}

/// A conflict target, which may have conditions already.
pub trait ConditionalTarget {
    /// What comes before one more condition.
    const BEFORE_CONDITION: &'static str;
}

impl<C> ConditionalTarget for ConflictTarget<C> {
    const BEFORE_CONDITION: &'static str = " WHERE (";
}

impl<T, P> ConditionalTarget for FilteredTarget<T, P> {
    const BEFORE_CONDITION: &'static str = " AND (";
}

impl<T, P, DB> QueryFragment<DB> for FilteredTarget<T, P>
where
    DB: Backend,
    T: ConditionalTarget + QueryFragment<DB>,
    P: QueryFragment<DB>,
{
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, DB>) -> QueryResult<()> {
        self.target.walk_ast(out.reborrow())?;
        out.push_sql(T::BEFORE_CONDITION);
        self.predicate.walk_ast(out.reborrow())?;
        out.push_sql(")");
        Ok(())
    }
}

/// A conflict target and what to do: nothing.
#[derive(Debug, Clone, Copy)]
pub struct DoNothing<T>(pub(super) T);

impl<T: QueryFragment<DB>, DB: Backend> QueryFragment<DB> for DoNothing<T> {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, DB>) -> QueryResult<()> {
        self.0.walk_ast(out.reborrow())?;
        out.push_sql(" DO NOTHING");
        Ok(())
    }
}

/// An insert as a fragment that a conflict clause can follow.
pub trait InsertFragment: TargetTable {
    /// `INSERT INTO … VALUES …`
    type Fragment;

    /// The fragment.
    fn into_fragment(self) -> Self::Fragment;
}

impl<T: Table, V: Insertable<T>> InsertFragment for InsertValues<T, V> {
    type Fragment = InsertStatement<T, V::Values>;

    fn into_fragment(self) -> Self::Fragment {
        diesel::insert_into(self.table).values(self.records)
    }
}

impl<T: Table, V, C> InsertFragment for InsertFromSelect<T, V, C> {
    type Fragment = InsertFromSelect<T, BeforeConflict<V>, C>;

    fn into_fragment(self) -> Self::Fragment {
        self.map_select(BeforeConflict)
    }
}

/// A select that `ON CONFLICT` can follow.
#[derive(Clone, Copy)]
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
