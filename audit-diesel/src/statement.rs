//! `audited::…` in place of `diesel::…`: the statement runs as Diesel would run it, and its changes
//! are recorded.

mod columns;
mod debug;
mod delete;
pub mod dsl;
mod image;
mod insert;
mod json;
mod not_plain;
mod plan;
#[cfg(feature = "postgres")]
pub(crate) mod postgres;
mod recording;
mod relation;
mod returning;
mod row;
mod row_changes;
mod save_changes;
#[cfg(feature = "sqlite")]
pub(crate) mod sqlite;
mod texts;
mod update;
mod where_clause;

pub use debug::ShowSql;
pub use insert::{
    AnyConflict, AuditedInsertDsl, ConflictTarget, FilteredTarget, IncompleteInsert,
    IncompleteOnConflict, Insert, InsertDefaults, InsertFragment, InsertFromSelect, InsertOrIgnore,
    InsertValues, OnConflictDoNothing,
};
pub use returning::{AllColumns, Returning, ReturningClause, WriteMark};
pub use row::{Extra, Mark};
pub use save_changes::AuditedSaveChangesDsl;
pub use update::{IncompleteUpdate, UpdateStatement};
pub use where_clause::{And, AndFilter, Boxed, Target};

use std::fmt;
use std::marker::PhantomData;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use audit_core::CapturedContext;
use diesel::expression::NonAggregate;
use diesel::query_dsl::methods::ExecuteDsl;
use diesel::query_dsl::{LoadQuery, RunQueryDsl};
use diesel::result::QueryResult;

use crate::Delivery;
use crate::connection::{AuditedConnection, RawConnection};
use crate::delivery;
use crate::model::AuditedModel;
use crate::panics;
use crate::recorder::{Recorder, own};

/// A statement whose changes are recorded when it runs.
///
/// It runs through Diesel's own [`RunQueryDsl`]: `execute`, `get_result`, `get_results`, `load`.
/// All rows are read before the call returns.
///
/// Its records have the context that is in force where it runs. Where none is that names an actor who
/// is known, as on a thread that a pool runs statements on, they have the one in which it was built.
#[must_use = "statements are only executed when calling `execute`, `get_result` or similar"]
pub struct Audited<S, M, R = AllColumns> {
    statement: S,
    returning: R,
    built_in: CapturedContext,
    model: PhantomData<fn() -> M>,
}

/// As Diesel's statements: where the values can be copied, whatever the model can.
impl<S: Clone, M, R: Clone> Clone for Audited<S, M, R> {
    fn clone(&self) -> Self {
        Self {
            statement: self.statement.clone(),
            returning: self.returning.clone(),
            built_in: self.built_in,
            model: PhantomData,
        }
    }
}

impl<S: Copy, M, R: Copy> Copy for Audited<S, M, R> {}

/// A statement holds values, and some of them are secrets: `Debug` shows what kind it is.
impl<S, M, R> fmt::Debug for Audited<S, M, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Audited").finish_non_exhaustive()
    }
}

impl<S, M> Audited<S, M> {
    fn new(statement: S, built_in: CapturedContext) -> Self {
        Self {
            statement,
            returning: AllColumns,
            built_in: built_in.or_here(),
            model: PhantomData,
        }
    }
}

impl<S: TargetTable, M> Audited<S, M> {
    /// Says what the statement returns, as Diesel's `returning` does: an expression for each row, so
    /// `count(id)` does not compile.
    pub fn returning<E>(self, returns: E) -> Audited<S, M, Returning<E>>
    where
        E: diesel::SelectableExpression<S::Table> + NonAggregate,
    {
        Audited {
            statement: self.statement,
            returning: Returning(returns),
            built_in: self.built_in,
            model: PhantomData,
        }
    }
}

impl<S, M, R> Audited<S, M, R> {
    fn map<T>(self, change: impl FnOnce(S) -> T) -> Audited<T, M, R> {
        Audited {
            statement: change(self.statement),
            returning: self.returning,
            built_in: self.built_in,
            model: PhantomData,
        }
    }
}

/// The table that a statement writes.
pub trait TargetTable {
    /// The table.
    type Table: diesel::Table;
}

/// A statement that can run on `Conn` and say what it changed. Diesel's bounds are met here, in
/// one place a statement and backend.
///
/// `E` is what the statement returns beside the rows of the model, and `X` what that loads into.
pub trait ChangeStatement<'query, Conn, M, E, X> {
    /// Runs the statement and records its changes.
    fn run(self, extra: E, conn: &mut Conn) -> QueryResult<Vec<X>>;
}

impl<S, M, R, Conn> RunQueryDsl<Conn> for Audited<S, M, R> {}

/// In whichever mode the rows are asked for, as `load_iter` can, they are all read before it returns.
impl<'query, Conn, S, M, R, U, B> LoadQuery<'query, Conn, U, B> for Audited<S, M, R>
where
    Conn: AuditedConnection,
    M: AuditedModel,
    S: TargetTable,
    R: ReturningClause<S::Table>,
    S: ChangeStatement<'query, Conn::Raw, M, (WriteMark, R::Expression), Extra<U>>,
{
    type RowIter<'conn>
        = std::vec::IntoIter<QueryResult<U>>
    where
        Conn: 'conn;

    fn internal_load(self, conn: &mut Conn) -> QueryResult<Self::RowIter<'_>> {
        let _context = self.built_in.enter();
        let extra = (WriteMark, self.returning.into_expression());
        let rows = audited::<M, _, _>(conn.raw(), |conn| self.statement.run(extra, conn))?;
        let outputs: Vec<_> = rows.into_iter().map(Extra::into_output).collect();
        Ok(outputs.into_iter())
    }
}

impl<'query, Conn, S, M, R> ExecuteDsl<Conn> for Audited<S, M, R>
where
    Conn: AuditedConnection,
    M: AuditedModel,
    S: ChangeStatement<'query, Conn::Raw, M, WriteMark, Mark>,
{
    fn execute(query: Self, conn: &mut Conn) -> QueryResult<usize> {
        let _context = query.built_in.enter();
        let conn = conn.raw();
        let rows = audited::<M, _, _>(conn, |conn| query.statement.run(WriteMark, conn))?;
        Ok(match relation::is_counted::<M, _>(conn) {
            true => rows.len(),
            false => 0,
        })
    }
}

/// Refuses before anything is written where the change could not be recorded, and tells the
/// recorder how it ended.
fn audited<M, C, T>(conn: &mut C, run: impl FnOnce(&mut C) -> QueryResult<T>) -> QueryResult<T>
where
    M: AuditedModel,
    C: RawConnection,
{
    conn.check_supported()?;
    let delivery = delivery::ready(conn, M::DELIVERY)?;
    if let Some(recorder) = Recorder::of(conn) {
        recorder.hold_panics();
    }
    // A panic of the user's code may go through all this, and the recorder has to know that it is over.
    let result = catch_unwind(AssertUnwindSafe(|| match delivery {
        Delivery::AfterCommit => conn.run_statement(run),
        Delivery::Prepared | Delivery::Transactional => conn.run_with_records(run),
    }));
    let failed = !matches!(result, Ok(Ok(_)));
    if failed && Recorder::of(conn).is_some_and(|r| r.is_doubtfully_aborted()) {
        // What answered may be a pooler, and the statement may have been done: without a record,
        // this transaction must not be committed. An aborted one has long refused everything.
        own(conn, C::spoil_transaction);
    }
    if let Some(recorder) = Recorder::of(conn) {
        recorder.statement_ended(failed);
    }
    let held = Recorder::of(conn).and_then(Recorder::take_held_panic);
    match (result, held) {
        (Err(panic), held) => {
            drop(held.map(panics::message));
            resume_unwind(panic)
        }
        (Ok(_), Some(panic)) => resume_unwind(panic),
        (Ok(result), None) => result.map_err(C::explained),
    }
}
