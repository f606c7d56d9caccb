//! `audited::update`.

use std::fmt;
use std::marker::PhantomData;

use audit_core::CapturedContext;
use diesel::backend::Backend;
use diesel::expression::{AppearsOnTable, Expression};
use diesel::query_builder::{AsChangeset, AstPass, IntoUpdateTarget, QueryFragment, QueryId};
use diesel::query_dsl::methods::{BoxedDsl, FilterDsl};
use diesel::result::{EmptyChangeset, Error, QueryResult};
use diesel::sql_types::BoolOrNullableBool;
use diesel::{QuerySource, Table};

use super::where_clause::{AndFilter, Boxed, Target};
use super::{Audited, TargetTable};
use crate::model::{AuditedBy, AuditedModel};

/// Updates rows and records what changed in each of them; stands where `diesel::update` stood.
///
/// On PostgreSQL the old rows are locked and read by the update itself, in one round trip. It is refused
/// with [`AuditError::KeyNotUnique`](crate::AuditError::KeyNotUnique) where PostgreSQL does not vouch
/// that the model's key tells the relation's rows apart: see [`docs::relations`](crate::docs::relations).
/// On SQLite they are read first, in the same immediate transaction; there rows are paired by their key, so
/// that an update which gives several rows new keys at once is recorded as what became of each key.
///
/// ```
/// # #[cfg(feature = "sqlite")]
/// # mod example {
/// # include!("../../docs/accounts.rs");
/// # pub fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let (queue, mut conn) = accounts_in_memory()?;
/// # let conn = &mut conn;
/// # audited::insert_into(accounts::table).values(accounts::email.eq("ada@example.com")).execute(conn)?;
/// let updated = audited::update(accounts::table.filter(accounts::balance.lt(10)))
///     .set((accounts::closed.eq(true), accounts::api_token.eq("n3w")))
///     .execute(conn)?;
/// assert_eq!(updated, 1);
/// let changes = queue.records()?[1].changes.clone().unwrap();
/// assert_eq!(
///     changes.as_json(),
///     r#"{"api_token":{"redacted":true},"closed":{"old":false,"new":true}}"#
/// );
/// # Ok(())
/// # }
/// # }
/// # #[cfg(feature = "sqlite")]
/// # example::main().unwrap();
/// ```
pub fn update<T, M>(source: T) -> IncompleteUpdate<T::Table, Target<T::WhereClause>, M>
where
    T: IntoUpdateTarget,
    T::Table: AuditedBy<M>,
    M: AuditedModel<Table = T::Table>,
{
    let target = source.into_update_target();
    IncompleteUpdate {
        from_clause: target.table.from_clause(),
        where_clause: Target(target.where_clause),
        built_in: CapturedContext::here(),
        model: PhantomData,
    }
}

/// An audited update before `set`; see [`update`].
#[must_use = "statements are only executed when calling `execute`, `get_result` or similar"]
pub struct IncompleteUpdate<T: QuerySource, W, M> {
    from_clause: T::FromClause,
    where_clause: W,
    built_in: CapturedContext,
    model: PhantomData<fn() -> M>,
}

impl<T: QuerySource<FromClause: Clone>, W: Clone, M> Clone for IncompleteUpdate<T, W, M> {
    fn clone(&self) -> Self {
        Self {
            from_clause: self.from_clause.clone(),
            where_clause: self.where_clause.clone(),
            built_in: self.built_in,
            model: PhantomData,
        }
    }
}

impl<T: QuerySource, W, M> fmt::Debug for IncompleteUpdate<T, W, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IncompleteUpdate").finish_non_exhaustive()
    }
}

impl<T: Table, W, M> IncompleteUpdate<T, W, M> {
    /// Adds a predicate with AND, as Diesel's `filter` does.
    pub fn filter<P>(self, predicate: P) -> IncompleteUpdate<T, W::Output, M>
    where
        W: AndFilter<P>,
        P: AppearsOnTable<T> + Expression,
        P::SqlType: BoolOrNullableBool,
    {
        IncompleteUpdate {
            from_clause: self.from_clause,
            where_clause: self.where_clause.and_filter(predicate),
            built_in: self.built_in,
            model: PhantomData,
        }
    }

    /// Boxes the WHERE clause, as Diesel's `into_boxed` does.
    pub fn into_boxed<'a, DB>(self) -> IncompleteUpdate<T, Boxed<'a, DB>, M>
    where
        DB: Backend,
        W: QueryFragment<DB> + Send + 'a,
    {
        IncompleteUpdate {
            from_clause: self.from_clause,
            where_clause: Boxed::new(self.where_clause),
            built_in: self.built_in,
            model: PhantomData,
        }
    }

    /// Says what to change, as Diesel's `set` does.
    pub fn set<V>(self, values: V) -> Audited<UpdateStatement<T, W, V::Changeset>, M>
    where
        V: AsChangeset<Target = T>,
    {
        let update = UpdateStatement {
            from_clause: self.from_clause,
            where_clause: self.where_clause,
            changes: values.as_changeset(),
        };
        Audited::new(update, self.built_in)
    }
}

/// An update of `T` where `W` sets `C`.
pub struct UpdateStatement<T: QuerySource, W, C> {
    pub(super) from_clause: T::FromClause,
    pub(super) where_clause: W,
    pub(super) changes: C,
}

impl<T: QuerySource<FromClause: Clone>, W: Clone, C: Clone> Clone for UpdateStatement<T, W, C> {
    fn clone(&self) -> Self {
        Self {
            from_clause: self.from_clause.clone(),
            where_clause: self.where_clause.clone(),
            changes: self.changes.clone(),
        }
    }
}

impl<T: QuerySource, W, C> fmt::Debug for UpdateStatement<T, W, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UpdateStatement").finish_non_exhaustive()
    }
}

impl<T, W, M, P> FilterDsl<P> for IncompleteUpdate<T, W, M>
where
    T: Table,
    W: AndFilter<P>,
    P: AppearsOnTable<T> + Expression<SqlType: BoolOrNullableBool>,
{
    type Output = IncompleteUpdate<T, W::Output, M>;

    fn filter(self, predicate: P) -> Self::Output {
        self.filter(predicate)
    }
}

impl<'a, T, W, M, DB> BoxedDsl<'a, DB> for IncompleteUpdate<T, W, M>
where
    T: Table,
    DB: Backend,
    W: QueryFragment<DB> + Send + 'a,
{
    type Output = IncompleteUpdate<T, Boxed<'a, DB>, M>;

    fn internal_into_boxed(self) -> Self::Output {
        self.into_boxed()
    }
}

impl<T: Table, W, C> TargetTable for UpdateStatement<T, W, C> {
    type Table = T;
}

impl<T: Table, W, C, M, R> Audited<UpdateStatement<T, W, C>, M, R> {
    /// Adds a predicate with AND, as Diesel's `filter` does.
    pub fn filter<P>(self, predicate: P) -> Audited<UpdateStatement<T, W::Output, C>, M, R>
    where
        W: AndFilter<P>,
        P: AppearsOnTable<T> + Expression,
        P::SqlType: BoolOrNullableBool,
    {
        self.map(|update| UpdateStatement {
            from_clause: update.from_clause,
            where_clause: update.where_clause.and_filter(predicate),
            changes: update.changes,
        })
    }

    /// Boxes the WHERE clause, as Diesel's `into_boxed` does.
    pub fn into_boxed<'a, DB>(self) -> Audited<UpdateStatement<T, Boxed<'a, DB>, C>, M, R>
    where
        DB: Backend,
        W: QueryFragment<DB> + Send + 'a,
    {
        self.map(|update| UpdateStatement {
            from_clause: update.from_clause,
            where_clause: Boxed::new(update.where_clause),
            changes: update.changes,
        })
    }
}

impl<T, W, C, M, R, P> FilterDsl<P> for Audited<UpdateStatement<T, W, C>, M, R>
where
    T: Table,
    W: AndFilter<P>,
    P: AppearsOnTable<T> + Expression<SqlType: BoolOrNullableBool>,
{
    type Output = Audited<UpdateStatement<T, W::Output, C>, M, R>;

    fn filter(self, predicate: P) -> Self::Output {
        self.filter(predicate)
    }
}

impl<'a, T, W, C, M, R, DB> BoxedDsl<'a, DB> for Audited<UpdateStatement<T, W, C>, M, R>
where
    T: Table,
    DB: Backend,
    W: QueryFragment<DB> + Send + 'a,
{
    type Output = Audited<UpdateStatement<T, Boxed<'a, DB>, C>, M, R>;

    fn internal_into_boxed(self) -> Self::Output {
        self.into_boxed()
    }
}

impl<T: QuerySource, W, C> UpdateStatement<T, W, C> {
    /// The same statement, with its values in place.
    pub(super) fn borrowed(&self) -> UpdateStatement<T, &W, &C>
    where
        T::FromClause: Clone,
    {
        UpdateStatement {
            from_clause: self.from_clause.clone(),
            where_clause: &self.where_clause,
            changes: &self.changes,
        }
    }

    /// Writes `UPDATE t SET …`.
    ///
    /// # Errors
    ///
    /// Diesel's error for a changeset that changes nothing.
    pub(super) fn walk_update_set<'b, DB>(&'b self, mut out: AstPass<'_, 'b, DB>) -> QueryResult<()>
    where
        DB: Backend,
        T::FromClause: QueryFragment<DB>,
        C: QueryFragment<DB>,
    {
        if self.changes.is_noop(out.backend())? {
            return Err(Error::QueryBuilderError(Box::new(EmptyChangeset)));
        }
        out.push_sql("UPDATE ");
        self.from_clause.walk_ast(out.reborrow())?;
        out.push_sql(" SET ");
        self.changes.walk_ast(out.reborrow())
    }

    /// Writes ` FROM t WHERE …`, for a select of the old rows.
    pub(super) fn walk_from_where<'b, DB>(&'b self, mut out: AstPass<'_, 'b, DB>) -> QueryResult<()>
    where
        DB: Backend,
        T::FromClause: QueryFragment<DB>,
        W: QueryFragment<DB>,
    {
        out.push_sql(" FROM ");
        self.from_clause.walk_ast(out.reborrow())?;
        self.where_clause.walk_ast(out)
    }
}

impl<T: QuerySource, W, C> QueryId for UpdateStatement<T, W, C> {
    type QueryId = ();
    const HAS_STATIC_QUERY_ID: bool = false;
}
