//! What a statement returns beside the rows of the model.

use std::fmt;

use diesel::backend::Backend;
use diesel::expression::{
    AppearsOnTable, Expression, SelectableExpression, ValidGrouping, is_aggregate,
};
use diesel::query_builder::{AstPass, QueryFragment, QueryId};
use diesel::result::QueryResult;
use diesel::sql_types::BigInt;
use diesel::{QuerySource, Table};

/// No `returning` was called: all columns of the table, as Diesel does.
#[derive(Debug, Clone, Copy)]
pub struct AllColumns;

/// What was passed to `returning`.
#[derive(Clone, Copy)]
pub struct Returning<E>(pub(super) E);

/// Without the values in it.
impl<E> fmt::Debug for Returning<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Returning").finish_non_exhaustive()
    }
}

/// What is shown behind the columns of the model: the mark, as nothing else is returned to
/// [`ExecuteDsl`](diesel::query_dsl::methods::ExecuteDsl).
impl<DB: Backend> QueryFragment<DB> for AllColumns
where
    WriteMark: QueryFragment<DB>,
{
    fn walk_ast<'b>(&'b self, out: AstPass<'_, 'b, DB>) -> QueryResult<()> {
        WriteMark.walk_ast(out)
    }
}

impl<E, DB> QueryFragment<DB> for Returning<E>
where
    DB: Backend,
    E: QueryFragment<DB>,
    WriteMark: QueryFragment<DB>,
{
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, DB>) -> QueryResult<()> {
        WriteMark.walk_ast(out.reborrow())?;
        out.push_sql(", ");
        self.0.walk_ast(out)
    }
}

/// What a statement on `T` returns to the caller.
pub trait ReturningClause<T: QuerySource> {
    /// The expression.
    type Expression;

    /// The expression.
    fn into_expression(self) -> Self::Expression;
}

impl<T: Table> ReturningClause<T> for AllColumns {
    type Expression = T::AllColumns;

    fn into_expression(self) -> T::AllColumns {
        T::all_columns()
    }
}

impl<T: QuerySource, E> ReturningClause<T> for Returning<E> {
    type Expression = E;

    fn into_expression(self) -> E {
        self.0
    }
}

/// Which transaction changes the row, and when, by the database's own word.
///
/// PostgreSQL evaluates it while it holds the row's lock, so of two changes of a row the later one
/// has the later time, whichever machines they come from. The transaction's id is what the database
/// can be asked by, should the connection be lost during COMMIT.
///
/// Both are 0 on other databases.
#[derive(Debug, Clone, Copy, QueryId)]
pub struct WriteMark;

impl Expression for WriteMark {
    type SqlType = (BigInt, BigInt);
}

impl<QS> AppearsOnTable<QS> for WriteMark {}
impl<QS> SelectableExpression<QS> for WriteMark {}

impl<G> ValidGrouping<G> for WriteMark {
    type IsAggregate = is_aggregate::Never;
}

#[cfg(feature = "postgres")]
impl QueryFragment<diesel::pg::Pg> for WriteMark {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, diesel::pg::Pg>) -> QueryResult<()> {
        // A time travels as a 64-bit number, as a bigint does: to make it one in SQL takes longer.
        out.push_sql("txid_current(), clock_timestamp()");
        Ok(())
    }
}

#[cfg(feature = "sqlite")]
impl QueryFragment<diesel::sqlite::Sqlite> for WriteMark {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, diesel::sqlite::Sqlite>) -> QueryResult<()> {
        out.push_sql("0, 0");
        Ok(())
    }
}
