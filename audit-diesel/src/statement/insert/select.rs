//! `insert_into(t).values(select).into_columns(columns)`, and `select.audited_insert_into(t)`.

use std::fmt;

use diesel::backend::Backend;
use diesel::expression::Expression;
use diesel::insertable::Insertable;
use diesel::query_builder::{AsQuery, AstPass, QueryFragment, QueryId};
use diesel::result::QueryResult;
use diesel::{SelectableExpression, Table};

use super::{Insert, InsertReturning, InsertValues, NoConflict, RunInsert, insert_into, shown};
use crate::connection::RawConnection;
use crate::model::{AuditedBy, AuditedModel, AuditedRow};
use crate::statement::columns::{Columns, ColumnsAnd};
use crate::statement::debug::{ShowSql, ShownBackend, rendered};
use crate::statement::{Audited, ChangeStatement, TargetTable};

/// `audited_insert_into`, beside Diesel's `insert_into` on a select or on a new row.
///
/// ```
/// # #[cfg(feature = "sqlite")]
/// # mod example {
/// # include!("../../../docs/accounts.rs");
/// use audit_diesel::AuditedInsertDsl;
///
/// # pub fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let (queue, mut conn) = accounts_in_memory()?;
/// # let conn = &mut conn;
/// # audited::insert_into(accounts::table).values(accounts::email.eq("ada")).execute(conn)?;
/// // Each account once more, under another address.
/// accounts::table
///     .select((accounts::email.concat("+copy"), accounts::balance))
///     .audited_insert_into(accounts::table)
///     .into_columns((accounts::email, accounts::balance))
///     .execute(conn)?;
/// # assert_eq!(queue.records()?.len(), 2);
/// # Ok(())
/// # }
/// # }
/// # #[cfg(feature = "sqlite")]
/// # example::main().unwrap();
/// ```
pub trait AuditedInsertDsl: Sized {
    /// `audited::insert_into(table).values(self)`.
    fn audited_insert_into<T, M>(self, table: T) -> Audited<InsertValues<T, Self>, M>
    where
        Self: Insertable<T>,
        T: AuditedBy<M>,
        M: AuditedModel<Table = T>,
    {
        insert_into(table).values(self)
    }
}

impl<V> AuditedInsertDsl for V {}

/// An insert from a select into some columns of the table.
#[derive(Clone, Copy)]
pub struct InsertFromSelect<T: Table, V, C, Op = Insert> {
    from_clause: T::FromClause,
    select: V,
    columns: C,
    operator: Op,
}

/// Without the values of the select, some of which may be secrets.
impl<T: Table, V, C, Op> fmt::Debug for InsertFromSelect<T, V, C, Op> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InsertFromSelect").finish_non_exhaustive()
    }
}

impl<T: Table, V, Op, M, R> Audited<InsertValues<T, V, Op>, M, R> {
    /// Says which columns a select fills, as Diesel's `into_columns` does.
    pub fn into_columns<C>(self, columns: C) -> Audited<InsertFromSelect<T, V::Query, C, Op>, M, R>
    where
        C: Expression + SelectableExpression<T>,
        V: AsQuery<SqlType = C::SqlType>,
    {
        self.map(|insert| InsertFromSelect {
            from_clause: insert.table.from_clause(),
            select: insert.records.as_query(),
            columns,
            operator: insert.operator,
        })
    }
}

impl<T: Table, V, C, Op> InsertFromSelect<T, V, C, Op> {
    pub(super) fn map_select<W>(
        self,
        change: impl FnOnce(V) -> W,
    ) -> InsertFromSelect<T, W, C, Op> {
        InsertFromSelect {
            from_clause: self.from_clause,
            select: change(self.select),
            columns: self.columns,
            operator: self.operator,
        }
    }
}

impl<T: Table, V, C, Op> TargetTable for InsertFromSelect<T, V, C, Op> {
    type Table = T;
}

impl<T: Table, V, C, Op> QueryId for InsertFromSelect<T, V, C, Op> {
    type QueryId = ();
    const HAS_STATIC_QUERY_ID: bool = false;
}

impl<T, V, C, Op, DB> QueryFragment<DB> for InsertFromSelect<T, V, C, Op>
where
    Op: QueryFragment<DB>,
    DB: Backend + Default,
    DB::QueryBuilder: Default,
    T: Table,
    T::FromClause: QueryFragment<DB>,
    V: QueryFragment<DB>,
    C: QueryFragment<DB>,
{
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, DB>) -> QueryResult<()> {
        self.operator.walk_ast(out.reborrow())?;
        out.push_sql(" INTO ");
        self.from_clause.walk_ast(out.reborrow())?;
        out.push_sql(" (");
        out.push_sql(&unqualified(&rendered(&self.columns)?));
        out.push_sql(") ");
        self.select.walk_ast(out.reborrow())
    }
}

/// Takes `"posts"."title", "posts"."body"` to `"title", "body"`: a column list names no table.
pub(super) fn unqualified(columns: &str) -> String {
    let mut names = Vec::new();
    let mut name = String::new();
    let mut quote = None;
    for character in columns.chars() {
        match (quote, character) {
            (None, '"' | '`') => quote = Some(character),
            (Some(open), close) if open == close => quote = None,
            (None, '.') => {
                name.clear();
                continue;
            }
            (None, ',') => {
                names.push(std::mem::take(&mut name));
                continue;
            }
            (None, ' ') => continue,
            _ => {}
        }
        name.push(character);
    }
    names.push(name);
    names.join(", ")
}

impl<'query, Conn, T, V, C, Op, M, E, X> ChangeStatement<'query, Conn, M, E, X>
    for InsertFromSelect<T, V, C, Op>
where
    T: Table,
    M: AuditedModel<Table = T>,
    Conn: RawConnection,
    M: AuditedRow<Conn::Backend>,
    InsertReturning<Self, NoConflict, ColumnsAnd<M, E>>: RunInsert<'query, Conn, M, E, X>,
{
    fn run(self, extra: E, conn: &mut Conn) -> QueryResult<Vec<X>> {
        let columns = Columns::of::<M, Conn>();
        InsertReturning::new(self, NoConflict, columns, extra, None).run_insert(conn)
    }
}

impl<T, V, C, Op, M, DB> ShowSql<DB, M> for InsertFromSelect<T, V, C, Op>
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

#[cfg(test)]
mod tests {
    use super::unqualified;

    #[test]
    fn column_lists_lose_their_table() {
        assert_eq!(unqualified(r#""posts"."title""#), r#""title""#);
        assert_eq!(
            unqualified(r#""a"."posts"."ti.t,""le", "posts"."body""#),
            r#""ti.t,""le", "body""#
        );
        assert_eq!(
            unqualified("`posts`.`title`, `posts`.`body`"),
            "`title`, `body`"
        );
    }
}
