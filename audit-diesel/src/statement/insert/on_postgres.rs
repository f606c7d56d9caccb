//! PostgreSQL: an insert is one statement, however many its rows, and one of a single row stays
//! prepared. Diesel prepares the insert of a struct anew each time, for fear of too many forms; here
//! their number is bounded.

use diesel::PgConnection;
use diesel::Table;
use diesel::insertable::{CanInsertInSingleQuery, Insertable};
use diesel::pg::Pg;
use diesel::query_builder::{AstPass, QueryFragment};
use diesel::result::QueryResult;

use super::on_conflict::{DoNothing, InsertFragment, OnConflictDoNothing};
use super::{InsertReturning, InsertValues, NoConflict, RunInsert, is_of_no_rows, shown};
use crate::model::{AuditedModel, AuditedRow};
use crate::statement::ChangeStatement;
use crate::statement::columns::{Columns, ColumnsAnd};
use crate::statement::debug::{ShowSql, rendered};

/// `INSERT INTO t … VALUES …`
pub struct InsertRows<T: Table, V> {
    from_clause: T::FromClause,
    values: V,
}

impl<T, V> QueryFragment<Pg> for InsertRows<T, V>
where
    T: Table,
    T::FromClause: QueryFragment<Pg>,
    V: QueryFragment<Pg>,
{
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        out.push_sql("INSERT INTO ");
        self.from_clause.walk_ast(out.reborrow())?;
        out.push_sql(" ");
        self.values.walk_ast(out)
    }
}

impl<'query, T, V, M, E, X> ChangeStatement<'query, PgConnection, M, E, X> for InsertValues<T, V>
where
    T: Table,
    V: Insertable<T>,
    V::Values: CanInsertInSingleQuery<Pg>,
    M: AuditedModel<Table = T>,
    M: AuditedRow<Pg>,
    InsertReturning<InsertRows<T, V::Values>, NoConflict, ColumnsAnd<M, E>>:
        RunInsert<'query, PgConnection, M, E, X>,
{
    fn run(self, extra: E, conn: &mut PgConnection) -> QueryResult<Vec<X>> {
        let values = self.records.values();
        let rows = values.rows_to_insert();
        if rows == Some(0) {
            return Ok(Vec::new());
        }
        InsertReturning {
            insert: InsertRows {
                from_clause: self.table.from_clause(),
                values,
            },
            conflict: NoConflict,
            returning: ColumnsAnd::new(Columns::of::<M, PgConnection>(), extra),
            rows,
            prepare: rows == Some(1),
        }
        .run_insert(conn)
    }
}

impl<'query, S, C, M, E, X> ChangeStatement<'query, PgConnection, M, E, X>
    for OnConflictDoNothing<S, C>
where
    S: InsertFragment,
    S::Fragment: QueryFragment<Pg>,
    M: AuditedModel<Table = S::Table>,
    M: AuditedRow<Pg>,
    InsertReturning<S::Fragment, DoNothing<C>, ColumnsAnd<M, E>>:
        RunInsert<'query, PgConnection, M, E, X>,
{
    fn run(self, extra: E, conn: &mut PgConnection) -> QueryResult<Vec<X>> {
        let insert = self.insert.into_fragment();
        let sql = rendered(&insert)?;
        if is_of_no_rows(&sql) {
            return Ok(Vec::new());
        }
        let columns = Columns::of::<M, PgConnection>();
        let rows = is_of_one_row(&sql).then_some(1);
        InsertReturning::new(insert, DoNothing(self.target), columns, extra, rows).run_insert(conn)
    }
}

/// Whether an insert surely has a single row. Of several it may skip some, and a select may have any
/// number: how many come back says nothing then.
fn is_of_one_row(sql: &str) -> bool {
    sql.contains(") VALUES (") && !sql.contains("), (")
}

impl<T, V, M> ShowSql<Pg, M> for InsertValues<T, V>
where
    T: Table,
    T::FromClause: QueryFragment<Pg>,
    V: Insertable<T> + Clone,
    V::Values: CanInsertInSingleQuery<Pg> + QueryFragment<Pg>,
    M: AuditedModel<Table = T> + AuditedRow<Pg>,
{
    fn show(&self, extra: &dyn QueryFragment<Pg>) -> QueryResult<String> {
        let values = self.records.clone().values();
        // Nothing is sent for no rows.
        if values.rows_to_insert() == Some(0) {
            return Ok(String::new());
        }
        let insert = InsertRows::<T, _> {
            from_clause: self.table.from_clause(),
            values,
        };
        shown::<M, Pg>(&insert, &NoConflict, extra)
    }
}

impl<S, C, M> ShowSql<Pg, M> for OnConflictDoNothing<S, C>
where
    S: InsertFragment + Clone,
    S::Fragment: QueryFragment<Pg>,
    C: QueryFragment<Pg>,
    M: AuditedModel<Table = S::Table> + AuditedRow<Pg>,
{
    fn show(&self, extra: &dyn QueryFragment<Pg>) -> QueryResult<String> {
        let insert = self.insert.clone().into_fragment();
        if is_of_no_rows(&rendered(&insert)?) {
            return Ok(String::new());
        }
        shown::<M, Pg>(&insert, &DoNothing(&self.target), extra)
    }
}
