//! PostgreSQL: an update locks and reads the old rows itself.
//!
//! `UPDATE t SET … FROM (SELECT … FROM t WHERE … FOR NO KEY UPDATE) AS "audit old"("audit old 0", …)
//! WHERE key = "audit old 0" AND … RETURNING "audit old 0", …, key, …`
//!
//! The old columns have names of their own, so that `balance` still means one thing, here and in SQL
//! that the user wrote; with spaces in them, as no table and no column is called.
//!
//! Under READ COMMITTED the inner SELECT waits for a concurrent writer and reads what that one
//! committed, so the old value is the one that this update replaces. `FOR NO KEY UPDATE` is the
//! lock that a plain UPDATE takes: rows that refer to this one can still be inserted meanwhile.
//! Rows are found again by the model's key, and not by their `ctid`: that of a row which a concurrent
//! writer has changed is another one in the statement's snapshot.
//! PostgreSQL 18 has `RETURNING old.*`, which could take this file's place one day.

mod pruning;
mod sql;
mod stored;
mod unique_key;

use std::marker::PhantomData;
use std::rc::Rc;

use diesel::associations::HasTable;
use diesel::connection::LoadConnection;
use diesel::deserialize::FromSqlRow;
use diesel::expression::Expression;
use diesel::pg::Pg;
use diesel::query_builder::{AstPass, Query, QueryFragment, QueryId};
use diesel::query_dsl::RunQueryDsl;
use diesel::result::{Error, QueryResult};
use diesel::sql_types::Untyped;
use diesel::{PgConnection, QuerySource, SelectableExpression, Table};

use super::ChangeStatement;
use super::columns::{Columns, quoted};
use super::debug::{ShowSql, rendered};
use super::image::ReturnedRow;
use super::plan::run_planned;
use super::recording::{Recording, extra_of};
use super::relation::{Names, names_of, writable};
use super::row::Output;
use super::row_changes::RowChange;
use super::texts::Texts;
use super::update::UpdateStatement;
use crate::AuditError;
use crate::connection::RawConnection;
use crate::model::{AuditedModel, AuditedRow};
use crate::recorder::Recorder;
use crate::relation::{KeyProof, Relation, RelationKind, Write};
use pruning::can_stand_twice;
use unique_key::{is_refuted, proof};

/// An update that returns each row as it was and as it is.
pub struct UpdateReturningOld<T: Table, W, C, M, E> {
    update: Rc<UpdateStatement<T, W, C>>,
    sql: &'static ModelSql,
    proof: KeyProof,
    /// Whether the rows are found again by the filter, too, so that partitions can be left out.
    prunes: bool,
    extra: Rc<E>,
    model: PhantomData<fn() -> M>,
}

/// What of the statement depends on the model alone.
struct ModelSql {
    columns: &'static Columns,
    /// The end of the inner SELECT, and what the old columns are called.
    after_old: String,
    /// The condition by which rows are found again, and the proofs that it finds no others, without and
    /// with the catalog.
    pairs: String,
    by_primary_key: String,
    by_catalog: String,
    returning: String,
}

static MODELS: Texts<ModelSql> = Texts::new();

impl ModelSql {
    fn write<M: AuditedModel + AuditedRow<Pg>>(Names { table, key }: &Names) -> QueryResult<Self> {
        let columns = Columns::of::<M, PgConnection>();
        let names = &columns.names;
        let all_old = listed((0..names.len()).map(old));
        let pairs = key.iter().map(|column| {
            let place = names.iter().position(|name| name == column);
            let old = old(place.ok_or_else(|| key_is_not_read(column))?);
            Ok(format!("{} = {old}", quoted::<Pg>(column)))
        });
        let pairs = pairs.collect::<QueryResult<Vec<_>>>()?.join(" AND ");
        Ok(Self {
            after_old: format!(" FOR NO KEY UPDATE) AS \"audit old\"({all_old})"),
            pairs,
            by_primary_key: proof(KeyProof::PrimaryKey, table, key),
            by_catalog: proof(KeyProof::Catalog, table, key),
            returning: format!(" RETURNING {all_old}, {}, ", columns.list),
            columns,
        })
    }

    fn proof(&self, by: KeyProof) -> &str {
        match by {
            KeyProof::PrimaryKey => &self.by_primary_key,
            KeyProof::Catalog | KeyProof::None => &self.by_catalog,
        }
    }
}

/// The derive has each part of the key read; an implementation by hand may not.
fn key_is_not_read(column: &str) -> Error {
    let problem =
        format!("`{column}` is a part of the model's key, and no column that the model reads");
    Error::QueryBuilderError(problem.into())
}

fn listed(names: impl Iterator<Item = String>) -> String {
    names.collect::<Vec<_>>().join(", ")
}

/// The name of an old column, by its place in the model.
fn old(place: usize) -> String {
    format!("\"audit old {place}\"")
}

impl<T: Table, W, C, M, E> QueryId for UpdateReturningOld<T, W, C, M, E> {
    type QueryId = ();
    const HAS_STATIC_QUERY_ID: bool = false;
}

/// The old columns, the new ones and the extra, each of which is read on its own.
impl<T: Table, W, C, M, E> Query for UpdateReturningOld<T, W, C, M, E> {
    type SqlType = Untyped;
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
        self.update.walk_update_set(out.reborrow())?;
        out.push_sql(" FROM (SELECT ");
        out.push_sql(&self.sql.columns.list);
        self.update.walk_from_where(out.reborrow())?;
        out.push_sql(&self.sql.after_old);
        let filter = &self.update.where_clause;
        if self.prunes {
            // Sooner or later PostgreSQL considers a plan of a prepared statement that is good for any
            // value, and locks all partitions for it.
            out.unsafe_to_cache_prepared();
        }
        if self.prunes && !filter.is_noop(out.backend())? {
            filter.walk_ast(out.reborrow())?;
            out.push_sql(" AND ");
        } else {
            out.push_sql(" WHERE ");
        }
        out.push_sql(&self.sql.pairs);
        out.push_sql(" AND ");
        out.push_sql(self.sql.proof(self.proof));
        out.push_sql(&self.sql.returning);
        self.extra.walk_ast(out.reborrow())
    }
}

impl<'query, T, W, C, M, E, X> ChangeStatement<'query, PgConnection, M, E, X>
    for UpdateStatement<T, W, C>
where
    T: Table + HasTable<Table = T>,
    T::FromClause: QueryFragment<Pg>,
    W: QueryFragment<Pg>,
    M: AuditedModel<Table = T> + AuditedRow<Pg>,
    X: Output + FromSqlRow<E::SqlType, Pg>,
    E: SelectableExpression<T>,
    UpdateReturningOld<T, W, C, M, E>: QueryFragment<Pg> + 'query,
{
    fn run(self, extra: E, conn: &mut PgConnection) -> QueryResult<Vec<X>> {
        let (update, extra) = (Rc::new(self), Rc::new(extra));
        match run_once::<T, W, C, M, E, X>(&update, &extra, conn) {
            Err(Failed::AsRefuted) => {
                // Another session has changed the table, or another one is meant by its name.
                if let Some(recorder) = Recorder::of(conn) {
                    recorder.relations().forget::<M>();
                }
                let again = match conn.go_back() {
                    true => run_once::<T, W, C, M, E, X>(&update, &extra, conn),
                    false => Err(Failed::AsRefuted),
                };
                match again {
                    Err(Failed::AsRefuted) => Err(key_not_unique::<M>()?),
                    Err(Failed::Otherwise(error)) => Err(error),
                    Ok(outputs) => Ok(outputs),
                }
            }
            Err(Failed::Otherwise(error)) => Err(error),
            Ok(outputs) => Ok(outputs),
        }
    }
}

/// How an update has failed.
enum Failed {
    /// PostgreSQL does not vouch for the key, and has written nothing.
    AsRefuted,
    Otherwise(Error),
}

impl From<Error> for Failed {
    fn from(error: Error) -> Self {
        Self::Otherwise(error)
    }
}

impl From<AuditError> for Failed {
    fn from(error: AuditError) -> Self {
        Self::Otherwise(error.into())
    }
}

impl Failed {
    fn of<S: QueryFragment<Pg>>(error: Error, statement: &S, proof: &str) -> Self {
        let sql = rendered(statement).unwrap_or_default();
        match is_refuted(&error, &sql, proof) {
            true => Self::AsRefuted,
            false => Self::Otherwise(error),
        }
    }
}

/// As for a table with a primary key; what else PostgreSQL is asked depends on the table.
impl<T, W, C, M> ShowSql<Pg, M> for UpdateStatement<T, W, C>
where
    T: Table,
    T::FromClause: QueryFragment<Pg> + Clone,
    W: QueryFragment<Pg>,
    C: QueryFragment<Pg>,
    M: AuditedModel<Table = T> + AuditedRow<Pg>,
{
    fn show(&self, extra: &dyn QueryFragment<Pg>) -> QueryResult<String> {
        rendered(&UpdateReturningOld::<T, _, _, M, _> {
            update: Rc::new(self.borrowed()),
            sql: model_sql::<M>()?,
            proof: KeyProof::PrimaryKey,
            prunes: false,
            extra: Rc::new(extra),
            model: PhantomData,
        })
    }
}

/// Runs the update as it fits what the connection knows of the table.
fn run_once<'query, T, W, C, M, E, X>(
    update: &Rc<UpdateStatement<T, W, C>>,
    extra: &Rc<E>,
    conn: &mut PgConnection,
) -> Result<Vec<X>, Failed>
where
    T: Table + HasTable<Table = T>,
    T::FromClause: QueryFragment<Pg>,
    W: QueryFragment<Pg>,
    M: AuditedModel<Table = T> + AuditedRow<Pg>,
    E: Expression,
    X: Output + FromSqlRow<E::SqlType, Pg>,
    UpdateReturningOld<T, W, C, M, E>: QueryFragment<Pg> + 'query,
{
    let filtered = !update.where_clause.is_noop(&Pg)?;
    let relation = writable::<M, _>(Write::Update { filtered }, can_be_paired, conn)?;
    if !can_be_paired(&relation) {
        return Err(key_not_unique::<M>()?.into());
    }
    let sql = model_sql::<M>()?;
    let count = sql.columns.names.len();
    let statement = Rc::new(UpdateReturningOld::<T, W, C, M, E> {
        update: Rc::clone(update),
        sql,
        proof: relation.key,
        prunes: prunes(relation, &update.where_clause)?,
        extra: Rc::clone(extra),
        model: PhantomData,
    });
    let mut recording = Recording::begin::<M, _>(conn)?;
    let outputs = run_planned::<M, _, _>(conn, |plan, conn| {
        // Row by row, as the rows of a bulk update take far more memory than their records.
        let mut outputs = Vec::new();
        for row in <PgConnection as LoadConnection>::load(conn, plan.of(&statement))? {
            let row = &row?;
            let extra: X = extra_of(row, 2 * count)?;
            let change = RowChange::Update {
                old: ReturnedRow { row, first: 0 },
                new: ReturnedRow { row, first: count },
            };
            recording.add::<M, Pg, _, _, _>(&change, extra.mark());
            outputs.push(extra);
        }
        Ok(outputs)
    });
    let proof = sql.proof(relation.key);
    let outputs = outputs.map_err(|error| Failed::of(error, &*statement, proof))?;
    recording.finish(conn)?;
    Ok(outputs)
}

fn model_sql<M>() -> QueryResult<&'static ModelSql>
where
    M: AuditedModel + AuditedRow<Pg>,
    <M::Table as QuerySource>::FromClause: QueryFragment<Pg>,
{
    match MODELS.known::<M>() {
        Some(sql) => Ok(sql),
        None => {
            let names = names_of::<M, Pg>()?;
            let sql = ModelSql::write::<M>(names)?;
            Ok(MODELS.of::<M>(|| sql))
        }
    }
}

/// Whether old and new rows can be paired. What PostgreSQL does not update anyway, or does not exist, is
/// for PostgreSQL to say: the proof fails where it does.
fn can_be_paired(relation: &Relation) -> bool {
    relation.key != KeyProof::None || relation.kind == RelationKind::Other
}

/// Whether the filter may stand in the statement twice, and helps there.
fn prunes<W: QueryFragment<Pg>>(relation: Relation, filter: &W) -> QueryResult<bool> {
    Ok(relation.kind == RelationKind::Partitioned && can_stand_twice(&rendered(filter)?))
}

fn key_not_unique<M>() -> QueryResult<Error>
where
    M: AuditedModel,
    <M::Table as QuerySource>::FromClause: QueryFragment<Pg>,
{
    let Names { table, key } = names_of::<M, Pg>()?;
    Ok(AuditError::KeyNotUnique {
        table: table.clone(),
        key: key.join(", "),
    }
    .into())
}
