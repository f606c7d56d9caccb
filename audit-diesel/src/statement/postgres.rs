//! PostgreSQL: an update locks and reads the old rows itself.
//!
//! `UPDATE t SET … FROM (SELECT … FROM t WHERE … FOR NO KEY UPDATE) AS "audit old"("audit old 0", …)
//! WHERE t.key = "audit old 0" RETURNING "audit old 0", …, t.…`
//!
//! The old columns have names of their own, so that `balance` still means one thing in SQL that the
//! user wrote; with spaces in them, as no table and no column is called.
//!
//! Under READ COMMITTED the inner SELECT waits for a concurrent writer and reads what that one
//! committed, so the old value is the one that this update replaces. `FOR NO KEY UPDATE` is the
//! lock that a plain UPDATE takes: rows that refer to this one can still be inserted meanwhile.
//! PostgreSQL 18 has `RETURNING old.*`, which could take this file's place one day.

use std::ops::Range;

use audit_core::ChangeKind;
use diesel::PgConnection;
use diesel::expression::Expression;
use diesel::pg::Pg;
use diesel::query_builder::{AstPass, Query, QueryFragment, QueryId};
use diesel::query_dsl::{LoadQuery, RunQueryDsl};
use diesel::result::QueryResult;
use diesel::{SelectableExpression, Table};

use super::row::{Loaded, Output, RowChange};
use super::update::{UpdateStatement, columns, push_columns};
use super::{ChangeStatement, Changed, own, record_changes};
use crate::model::AuditedModel;

const OLD: &str = "audit old";

/// An update that returns each row as it was and as it is.
pub struct UpdateReturningOld<T: Table, W, C, M: AuditedModel, E> {
    update: UpdateStatement<T, W, C>,
    new: M::Columns,
    extra: E,
}

impl<T: Table, W, C, M: AuditedModel, E> QueryId for UpdateReturningOld<T, W, C, M, E> {
    type QueryId = ();
    const HAS_STATIC_QUERY_ID: bool = false;
}

type SqlTypeOf<E> = <E as Expression>::SqlType;

impl<T, W, C, M, E> Query for UpdateReturningOld<T, W, C, M, E>
where
    T: Table,
    M: AuditedModel,
    M::Columns: Expression,
    E: Expression,
{
    type SqlType = ((SqlTypeOf<M::Columns>, SqlTypeOf<M::Columns>), SqlTypeOf<E>);
}

impl<T: Table, W, C, M: AuditedModel, E, Conn> RunQueryDsl<Conn>
    for UpdateReturningOld<T, W, C, M, E>
{
}

impl<T, W, C, M, E> QueryFragment<Pg> for UpdateReturningOld<T, W, C, M, E>
where
    T: Table,
    T::FromClause: QueryFragment<Pg>,
    W: QueryFragment<Pg>,
    C: QueryFragment<Pg>,
    M: AuditedModel,
    M::Columns: QueryFragment<Pg>,
    E: QueryFragment<Pg>,
{
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        self.update.walk_update_set(out.reborrow())?;
        out.push_sql(" FROM (SELECT ");
        push_columns::<Pg, M>(&mut out)?;
        self.update.walk_from_where(out.reborrow())?;
        out.push_sql(" FOR NO KEY UPDATE) AS ");
        out.push_identifier(OLD)?;
        let columns = columns::<M>();
        out.push_sql("(");
        push_old(0..columns.len(), &mut out)?;
        out.push_sql(") WHERE ");
        self.walk_same_key(&columns, out.reborrow())?;
        out.push_sql(" RETURNING ");
        push_old(0..columns.len(), &mut out)?;
        out.push_sql(", ");
        self.new.walk_ast(out.reborrow())?;
        out.push_sql(", ");
        self.extra.walk_ast(out.reborrow())
    }
}

impl<T, W, C, M, E> UpdateReturningOld<T, W, C, M, E>
where
    T: Table,
    T::FromClause: QueryFragment<Pg>,
    M: AuditedModel,
{
    fn walk_same_key<'b>(
        &'b self,
        columns: &[&str],
        mut out: AstPass<'_, 'b, Pg>,
    ) -> QueryResult<()> {
        let mut key = Vec::new();
        M::visit_key(&mut |column| key.push(column));
        for (place, column) in key.into_iter().enumerate() {
            if place > 0 {
                out.push_sql(" AND ");
            }
            self.update.from_clause.walk_ast(out.reborrow())?;
            out.push_sql(".");
            out.push_identifier(column)?;
            out.push_sql(" = ");
            // The derive sees to it that the key is among the model's columns.
            let old = columns.iter().position(|c| *c == column).unwrap_or(0);
            push_old(old..old + 1, &mut out)?;
        }
        Ok(())
    }
}

/// Writes the names of these old columns, by their places in the model.
fn push_old(places: Range<usize>, out: &mut AstPass<'_, '_, Pg>) -> QueryResult<()> {
    for place in places.clone() {
        if place > places.start {
            out.push_sql(", ");
        }
        out.push_identifier(&format!("{OLD} {place}"))?;
    }
    Ok(())
}

impl<'query, T, W, C, M, E, X> ChangeStatement<'query, PgConnection, M, E, X>
    for UpdateStatement<T, W, C>
where
    T: Table,
    M: AuditedModel<Table = T>,
    X: Output,
    E: SelectableExpression<T>,
    UpdateReturningOld<T, W, C, M, E>: LoadQuery<'query, PgConnection, Loaded<(M, M), X>>,
{
    fn run(self, extra: E, conn: &mut PgConnection) -> QueryResult<Vec<X>> {
        let statement = UpdateReturningOld::<T, W, C, M, E> {
            update: self,
            new: M::columns(),
            extra,
        };
        let rows: Vec<Loaded<(M, M), X>> = own(conn, |conn| statement.load(conn))?;
        let (rows, outputs) = rows
            .into_iter()
            .map(|row| {
                let change = match row.change {
                    Ok((old, new)) => RowChange::Update { old, new },
                    Err(_) => RowChange::Unreadable(ChangeKind::Update),
                };
                (change, row.extra)
            })
            .unzip();
        record_changes(conn, Changed { rows, outputs })
    }
}
