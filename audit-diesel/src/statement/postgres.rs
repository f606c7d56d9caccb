//! PostgreSQL: an update locks and reads the old rows itself.
//!
//! `UPDATE t SET … FROM (SELECT … FROM t WHERE … FOR NO KEY UPDATE) AS "audit old"("audit old 0", …)
//! WHERE key = "audit old 0" RETURNING "audit old 0", …, key, …`
//!
//! The old columns have names of their own, so that `balance` still means one thing, here and in SQL
//! that the user wrote; with spaces in them, as no table and no column is called.
//!
//! Under READ COMMITTED the inner SELECT waits for a concurrent writer and reads what that one
//! committed, so the old value is the one that this update replaces. `FOR NO KEY UPDATE` is the
//! lock that a plain UPDATE takes: rows that refer to this one can still be inserted meanwhile.
//! PostgreSQL 18 has `RETURNING old.*`, which could take this file's place one day.

mod unique_key;

use std::marker::PhantomData;
use std::sync::Arc;

use audit_core::ChangeKind;
use diesel::PgConnection;
use diesel::expression::Expression;
use diesel::pg::Pg;
use diesel::query_builder::{AstPass, Query, QueryFragment, QueryId};
use diesel::query_dsl::{LoadQuery, RunQueryDsl};
use diesel::result::QueryResult;
use diesel::{SelectableExpression, Table};

use super::debug::{ShowSql, rendered};
use super::recording::Recording;
use super::row::{Loaded, Output, RowChange};
use super::texts::Texts;
use super::update::{UpdateStatement, columns};
use super::{ChangeStatement, own_preparing};
use crate::model::AuditedModel;

/// An update that returns each row as it was and as it is.
pub struct UpdateReturningOld<T: Table, W, C, M, E> {
    update: UpdateStatement<T, W, C>,
    sql: Arc<ModelSql>,
    extra: E,
    prepare: bool,
    model: PhantomData<fn() -> M>,
}

/// What of the statement depends on the model alone.
struct ModelSql {
    columns: String,
    after_where: String,
}

static MODELS: Texts<ModelSql> = Texts::new();

impl ModelSql {
    fn write<M: AuditedModel>() -> Self {
        let names = columns::<M>();
        let columns = listed(names.iter().map(|name| quoted(name)));
        let old = listed((0..names.len()).map(old));
        let mut key = Vec::new();
        M::visit_key(&mut |column| {
            // The derive sees to it that the key is among the model's columns.
            let place = names.iter().position(|name| *name == column).unwrap_or(0);
            key.push(format!("{} = {}", quoted(column), self::old(place)));
        });
        let key = key.join(" AND ");
        Self {
            after_where: format!(
                " FOR NO KEY UPDATE) AS \"audit old\"({old}) WHERE {key} RETURNING {old}, {columns}, "
            ),
            columns,
        }
    }
}

fn listed(names: impl Iterator<Item = String>) -> String {
    names.collect::<Vec<_>>().join(", ")
}

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// The name of an old column, by its place in the model.
fn old(place: usize) -> String {
    format!("\"audit old {place}\"")
}

impl<T: Table, W, C, M, E> QueryId for UpdateReturningOld<T, W, C, M, E> {
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

impl<T: Table, W, C, M, E, Conn> RunQueryDsl<Conn> for UpdateReturningOld<T, W, C, M, E> {}

impl<T, W, C, M, E> QueryFragment<Pg> for UpdateReturningOld<T, W, C, M, E>
where
    T: Table,
    T::FromClause: QueryFragment<Pg>,
    W: QueryFragment<Pg>,
    C: QueryFragment<Pg>,
    E: QueryFragment<Pg>,
{
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        if !self.prepare {
            out.unsafe_to_cache_prepared();
        }
        self.update.walk_update_set(out.reborrow())?;
        out.push_sql(" FROM (SELECT ");
        out.push_sql(&self.sql.columns);
        self.update.walk_from_where(out.reborrow())?;
        out.push_sql(&self.sql.after_where);
        self.extra.walk_ast(out.reborrow())
    }
}

impl<'query, T, W, C, M, E, X> ChangeStatement<'query, PgConnection, M, E, X>
    for UpdateStatement<T, W, C>
where
    T: Table,
    T::FromClause: QueryFragment<Pg>,
    M: AuditedModel<Table = T>,
    X: Output,
    E: SelectableExpression<T>,
    UpdateReturningOld<T, W, C, M, E>: LoadQuery<'query, PgConnection, Loaded<(M, M), X>>,
{
    fn run(self, extra: E, conn: &mut PgConnection) -> QueryResult<Vec<X>> {
        unique_key::check::<M>(&self.from_clause, conn)?;
        let mut recording = Recording::begin::<M, _>(conn)?;
        let outputs = own_preparing::<M, _, _>(conn, |prepare, conn| {
            let statement = UpdateReturningOld::<T, W, C, M, E> {
                update: self,
                sql: MODELS.of::<M>(ModelSql::write::<M>),
                extra,
                prepare,
                model: PhantomData,
            };
            // Row by row, as the rows of a bulk update take far more memory than their records.
            let mut outputs = Vec::new();
            for row in statement.internal_load(conn)? {
                let Loaded { change, extra } = row?;
                let change = match change {
                    Ok((old, new)) => RowChange::Update { old, new },
                    Err(_) => RowChange::Unreadable(ChangeKind::Update),
                };
                recording.add(&change, extra.mark());
                outputs.push(extra);
            }
            QueryResult::Ok(outputs)
        })?;
        recording.finish(conn)?;
        Ok(outputs)
    }
}

impl<T, W, C, M> ShowSql<Pg, M> for UpdateStatement<T, W, C>
where
    T: Table,
    T::FromClause: QueryFragment<Pg> + Clone,
    W: QueryFragment<Pg>,
    C: QueryFragment<Pg>,
    M: AuditedModel<Table = T>,
{
    fn show(&self, extra: &dyn QueryFragment<Pg>) -> QueryResult<String> {
        rendered(&UpdateReturningOld::<T, _, _, M, _> {
            update: self.borrowed(),
            sql: MODELS.of::<M>(ModelSql::write::<M>),
            extra,
            prepare: false,
            model: PhantomData,
        })
    }
}
