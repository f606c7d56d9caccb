//! `insert_into(t).values(select).into_columns(columns)`.

use diesel::backend::Backend;
use diesel::expression::Expression;
use diesel::query_builder::{AstPass, Query, QueryBuilder, QueryFragment, QueryId};
use diesel::result::QueryResult;
use diesel::{SelectableExpression, Table};

use super::{InsertReturning, InsertValues, NoConflict, RunInsert};
use crate::connection::RawConnection;
use crate::model::{AuditedModel, AuditedRow};
use crate::statement::columns::{Columns, ColumnsAnd};
use crate::statement::{Audited, ChangeStatement, TargetTable};

/// An insert from a select into some columns of the table.
#[derive(Clone)]
pub struct InsertFromSelect<T: Table, V, C> {
    from_clause: T::FromClause,
    select: V,
    columns: C,
}

impl<T: Table, V, M, R> Audited<InsertValues<T, V>, M, R> {
    /// Says which columns a select fills, as Diesel's `into_columns` does.
    pub fn into_columns<C>(self, columns: C) -> Audited<InsertFromSelect<T, V, C>, M, R>
    where
        C: Expression + SelectableExpression<T>,
        V: Query<SqlType = C::SqlType>,
    {
        self.map(|insert| InsertFromSelect {
            from_clause: insert.table.from_clause(),
            select: insert.records,
            columns,
        })
    }
}

impl<T: Table, V, C> InsertFromSelect<T, V, C> {
    pub(super) fn map_select<W>(self, change: impl FnOnce(V) -> W) -> InsertFromSelect<T, W, C> {
        InsertFromSelect {
            from_clause: self.from_clause,
            select: change(self.select),
            columns: self.columns,
        }
    }
}

impl<T: Table, V, C> TargetTable for InsertFromSelect<T, V, C> {
    type Table = T;
}

impl<T: Table, V, C> QueryId for InsertFromSelect<T, V, C> {
    type QueryId = ();
    const HAS_STATIC_QUERY_ID: bool = false;
}

impl<T, V, C, DB> QueryFragment<DB> for InsertFromSelect<T, V, C>
where
    DB: Backend + Default,
    DB::QueryBuilder: Default,
    T: Table,
    T::FromClause: QueryFragment<DB>,
    V: QueryFragment<DB>,
    C: QueryFragment<DB>,
{
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, DB>) -> QueryResult<()> {
        out.push_sql("INSERT INTO ");
        self.from_clause.walk_ast(out.reborrow())?;
        out.push_sql(" (");
        out.push_sql(&unqualified(&rendered(&self.columns)?));
        out.push_sql(") ");
        self.select.walk_ast(out.reborrow())
    }
}

/// The SQL of a fragment without binds.
pub(in crate::statement) fn rendered<DB>(fragment: &dyn QueryFragment<DB>) -> QueryResult<String>
where
    DB: Backend + Default,
    DB::QueryBuilder: Default,
{
    let mut sql = DB::QueryBuilder::default();
    fragment.to_sql(&mut sql, &DB::default())?;
    Ok(sql.finish())
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

impl<'query, Conn, T, V, C, M, E, X> ChangeStatement<'query, Conn, M, E, X>
    for InsertFromSelect<T, V, C>
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
