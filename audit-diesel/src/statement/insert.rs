//! `audited::insert_into`.
//!
//! Diesel's insert statement keeps the traits behind `on_conflict` and `into_columns` to itself, so
//! these two are written here; everything else is Diesel's statement.

mod on_conflict;
#[cfg(feature = "postgres")]
mod on_postgres;
#[cfg(feature = "sqlite")]
mod on_sqlite;
mod operator;
mod select;
#[cfg(feature = "sqlite")]
mod shown_on_sqlite;

pub use on_conflict::{
    AnyConflict, ConflictTarget, FilteredTarget, IncompleteOnConflict, InsertFragment,
    OnConflictDoNothing,
};
pub use operator::{Insert, InsertOrIgnore};
pub use select::{AuditedInsertDsl, InsertFromSelect};

use std::fmt;
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
use super::debug::{ShowSql, ShownBackend, rendered};
use super::plan::run_planned;
use super::recording::Recording;
use super::row::Output;
use super::{Audited, ChangeStatement, TargetTable, relation};
use crate::connection::RawConnection;
use crate::model::{AuditedBy, AuditedModel, AuditedRow};
use crate::relation::Write;

/// Inserts rows and records each of them; stands where `diesel::insert_into` stood.
///
/// The new rows are read by the same statement, with what the database filled in.
///
/// ```
/// # #[cfg(feature = "sqlite")]
/// # mod example {
/// # include!("../../docs/accounts.rs");
/// # pub fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let (queue, mut conn) = accounts_in_memory()?;
/// # let conn = &mut conn;
/// let id: i32 = audited::insert_into(accounts::table)
///     .values((accounts::email.eq("ada@example.com"), accounts::balance.eq(3)))
///     .returning(accounts::id)
///     .get_result(conn)?;
/// # assert_eq!((id, queue.records()?.len()), (1, 1));
/// # Ok(())
/// # }
/// # }
/// # #[cfg(feature = "sqlite")]
/// # example::main().unwrap();
/// ```
///
/// # Instead of `do_update()`
///
/// `on_conflict(…).do_update()` is not offered yet, as RETURNING does not tell a new row from an
/// updated one. Until it is, update first and insert where that found no row; and as another
/// connection may insert the row in between, begin again where the insert found it there:
///
/// ```
/// # #[cfg(feature = "sqlite")]
/// # mod example {
/// # include!("../../docs/accounts.rs");
/// use diesel::result::{Error, QueryResult};
///
/// fn save(conn: &mut SqliteConnection, email: &str, balance: i64) -> QueryResult<Account> {
///     loop {
///         let updated = audited::update(accounts::table.filter(accounts::email.eq(email)))
///             .set(accounts::balance.eq(balance))
///             .get_result(conn)
///             .optional()?;
///         if let Some(account) = updated {
///             return Ok(account);
///         }
///         let inserted = audited::insert_into(accounts::table)
///             .values((accounts::email.eq(email), accounts::balance.eq(balance)))
///             .on_conflict(accounts::email)
///             .do_nothing()
///             .get_result(conn)
///             .optional()?;
///         if let Some(account) = inserted {
///             return Ok(account);
///         }
///     }
/// }
/// # pub fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let (queue, mut conn) = accounts_in_memory()?;
/// # let conn = &mut conn;
/// # assert_eq!(save(conn, "ada@example.com", 1)?.balance, 1);
/// # assert_eq!(save(conn, "ada@example.com", 2)?.balance, 2);
/// # assert_eq!(queue.records()?.len(), 2);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # }
/// # }
/// # #[cfg(feature = "sqlite")]
/// # example::main().unwrap();
/// ```
///
/// The filter of the update and the target of the conflict have to be the same columns, under a
/// unique index: where the insert meets a row that the update does not find, the loop would not end.
/// So always name the target, so that other unique constraints are errors as ever. Under
/// `REPEATABLE READ` and `SERIALIZABLE` PostgreSQL answers the insert with a serialization failure
/// instead; retry the transaction then.
pub fn insert_into<T, M>(target: T) -> IncompleteInsert<T, M>
where
    T: AuditedBy<M>,
    M: AuditedModel<Table = T>,
{
    IncompleteInsert::new(target)
}

/// Inserts the rows that violate no constraint, and records each that was inserted; stands where
/// `diesel::insert_or_ignore_into` stood. SQLite only, as there.
///
/// `INSERT OR IGNORE` skips a row for any constraint that it violates: a unique one, NOT NULL and
/// CHECK as well. Skipped rows are not counted, not returned, and make no record.
/// [`on_conflict_do_nothing`](Audited::on_conflict_do_nothing) skips for unique constraints alone.
///
/// ```
/// # #[cfg(feature = "sqlite")]
/// # mod example {
/// # include!("../../docs/accounts.rs");
/// # pub fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let (queue, mut conn) = accounts_in_memory()?;
/// # let conn = &mut conn;
/// let emails = ["ada@example.com", "bob@example.com", "ada@example.com"];
/// let inserted = audited::insert_or_ignore_into(accounts::table)
///     .values(emails.map(|email| accounts::email.eq(email)))
///     .execute(conn)?;
/// assert_eq!(inserted, 2);
/// # assert_eq!(queue.records()?.len(), 2);
/// # Ok(())
/// # }
/// # }
/// # #[cfg(feature = "sqlite")]
/// # example::main().unwrap();
/// ```
#[cfg(feature = "sqlite")]
pub fn insert_or_ignore_into<T, M>(target: T) -> IncompleteInsert<T, M, InsertOrIgnore>
where
    T: AuditedBy<M>,
    M: AuditedModel<Table = T>,
{
    IncompleteInsert::new(target)
}

/// Only says that there is no audited form of `diesel::replace_into` yet: to call it does not
/// compile.
///
/// `REPLACE` deletes the rows that are in the way, and RETURNING does not tell which those were. Write
/// what is meant: `audited::delete` and then [`insert_into`], in a transaction; or the loop that
/// [`insert_into`] shows, which keeps the row and changes its columns.
pub fn replace_into<T, M>(target: T) -> IncompleteInsert<T, M>
where
    T: AuditedBy<M> + ReplaceInto,
    M: AuditedModel<Table = T>,
{
    IncompleteInsert::new(target)
}

/// What [`replace_into`] asks for, and nothing is.
#[diagnostic::on_unimplemented(
    message = "`audited::replace_into` is not offered yet: which rows it deletes would not be in the trail",
    label = "not offered yet",
    note = "write `audited::delete` and then `audited::insert_into`, in a transaction; or update, and \
            insert with `do_nothing()` where that found no row: see the documentation of \
            `audited::insert_into`"
)]
pub trait ReplaceInto {}

/// An audited insert without values; see [`insert_into`].
#[must_use = "statements are only executed when calling `execute`, `get_result` or similar"]
pub struct IncompleteInsert<T, M, Op = Insert> {
    table: T,
    operator: PhantomData<Op>,
    built_in: CapturedContext,
    model: PhantomData<fn() -> M>,
}

impl<T: Clone, M, Op> Clone for IncompleteInsert<T, M, Op> {
    fn clone(&self) -> Self {
        Self {
            table: self.table.clone(),
            ..*self
        }
    }
}

impl<T: Copy, M, Op> Copy for IncompleteInsert<T, M, Op> {}

impl<T, M, Op> fmt::Debug for IncompleteInsert<T, M, Op> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IncompleteInsert").finish_non_exhaustive()
    }
}

impl<T, M, Op> IncompleteInsert<T, M, Op> {
    fn new(table: T) -> Self {
        Self {
            table,
            operator: PhantomData,
            built_in: CapturedContext::here(),
            model: PhantomData,
        }
    }
}

impl<T: Table, M, Op: Default> IncompleteInsert<T, M, Op> {
    /// Says what to insert, as Diesel's `values` does: one or many structs or tuples, or a select.
    pub fn values<V>(self, records: V) -> Audited<InsertValues<T, V, Op>, M>
    where
        V: Insertable<T>,
    {
        let insert = InsertValues {
            table: self.table,
            records,
            operator: Op::default(),
        };
        Audited::new(insert, self.built_in)
    }

    /// Inserts a row of default values, as Diesel's `default_values` does.
    pub fn default_values(self) -> Audited<InsertDefaults<T, Op>, M> {
        let insert = InsertDefaults {
            from_clause: self.table.from_clause(),
            operator: Op::default(),
        };
        Audited::new(insert, self.built_in)
    }
}

/// An insert of values; see [`IncompleteInsert::values`].
#[derive(Clone, Copy)]
pub struct InsertValues<T, V, Op = Insert> {
    table: T,
    records: V,
    operator: Op,
}

/// Without the values, some of which may be secrets.
impl<T, V, Op> fmt::Debug for InsertValues<T, V, Op> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InsertValues").finish_non_exhaustive()
    }
}

impl<T: Table, V, Op> TargetTable for InsertValues<T, V, Op> {
    type Table = T;
}

/// An insert of default values; see [`IncompleteInsert::default_values`].
#[derive(Debug, Clone, Copy)]
pub struct InsertDefaults<T: Table, Op = Insert> {
    from_clause: T::FromClause,
    operator: Op,
}

impl<T: Table, Op> TargetTable for InsertDefaults<T, Op> {
    type Table = T;
}

impl<T: Table, Op> QueryId for InsertDefaults<T, Op> {
    type QueryId = ();
    const HAS_STATIC_QUERY_ID: bool = false;
}

impl<T, Op, DB> QueryFragment<DB> for InsertDefaults<T, Op>
where
    DB: Backend,
    T: Table,
    T::FromClause: QueryFragment<DB>,
    Op: QueryFragment<DB>,
{
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, DB>) -> QueryResult<()> {
        self.operator.walk_ast(out.reborrow())?;
        out.push_sql(" INTO ");
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
    /// How many rows come back at least, unless something is in the way, where that is known.
    rows: Option<usize>,
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

impl<M, E, S, C> InsertReturning<S, C, ColumnsAnd<M, E>> {
    /// An insert that returns the model's columns and `extra`, and `rows` rows at least, where that is
    /// known.
    fn new(
        insert: S,
        conflict: C,
        columns: &'static Columns,
        extra: E,
        rows: Option<usize>,
    ) -> Self {
        Self {
            insert,
            conflict,
            returning: ColumnsAnd::new(columns, extra),
            rows,
            prepare: false,
        }
    }
}

/// Whether Diesel has rendered an insert of no rows: it makes a SELECT of that, which nothing may follow.
fn is_of_no_rows(sql: &str) -> bool {
    sql.starts_with("SELECT")
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
        let rows = self.rows;
        let counted = rows.is_some();
        relation::writable::<M, Conn>(Write::Insert { counted }, |_| true, conn)?;
        let insert = Rc::new(self);
        let mut recording = Recording::begin::<M, _>(conn)?;
        let outputs = run_planned::<M, _, _>(conn, |plan, conn| {
            let insert = plan.of(&insert);
            recording.load::<M, E::SqlType, X, _, _>(ChangeKind::Insert, insert, conn)
        })?;
        recording.finish(conn)?;
        if rows.is_some_and(|rows| outputs.len() < rows) {
            relation::look_after_insert::<M, Conn>(conn);
        }
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

impl<'query, Conn, T, Op, M, E, X> ChangeStatement<'query, Conn, M, E, X> for InsertDefaults<T, Op>
where
    T: Table,
    M: AuditedModel<Table = T>,
    Conn: RawConnection,
    M: AuditedRow<Conn::Backend>,
    InsertReturning<Self, NoConflict, ColumnsAnd<M, E>>: RunInsert<'query, Conn, M, E, X>,
{
    fn run(self, extra: E, conn: &mut Conn) -> QueryResult<Vec<X>> {
        let columns = Columns::of::<M, Conn>();
        InsertReturning::new(self, NoConflict, columns, extra, Some(1)).run_insert(conn)
    }
}

/// What an insert that is complete without its values' types runs as.
fn shown<M, DB>(
    insert: &dyn QueryFragment<DB>,
    conflict: &dyn QueryFragment<DB>,
    extra: &dyn QueryFragment<DB>,
) -> QueryResult<String>
where
    DB: ShownBackend,
    M: AuditedModel + AuditedRow<DB>,
{
    let columns = Columns::of::<M, DB::Connection>();
    rendered(&InsertReturning::<_, _, ColumnsAnd<M, _>>::new(
        insert, conflict, columns, extra, None,
    ))
}

impl<T, Op, M, DB> ShowSql<DB, M> for InsertDefaults<T, Op>
where
    DB: ShownBackend,
    T: Table,
    M: AuditedModel + AuditedRow<DB>,
    Self: QueryFragment<DB>,
{
    fn show(&self, extra: &dyn QueryFragment<DB>) -> QueryResult<String> {
        shown::<M, DB>(self, &NoConflict, extra)
    }
}
