//! What the relation is that a model's table name means on a connection: asked once, and refused where
//! the write could not be recorded truthfully.

use diesel::associations::HasTable;
use diesel::backend::Backend;
use diesel::query_builder::{QueryBuilder, QueryFragment};
use diesel::result::QueryResult;
use diesel::{QuerySource, Table};

use crate::AuditError;
use crate::connection::RawConnection;
use crate::model::AuditedModel;
use crate::recorder::{Recorder, own};
use crate::relation::{Relation, RelationKind, Write};

/// The table's name as it stands in SQL.
pub(super) fn name_of<T, DB>() -> QueryResult<String>
where
    T: Table + HasTable<Table = T>,
    T::FromClause: QueryFragment<DB>,
    DB: Backend + Default,
    DB::QueryBuilder: Default,
{
    let mut name = DB::QueryBuilder::default();
    T::table().from_clause().to_sql(&mut name, &DB::default())?;
    Ok(name.finish())
}

/// What the relation is. What was told before and does not suit is asked about anew: whatever was in
/// the way may be gone.
pub(super) fn relation_of<M, C>(
    suits: impl Fn(&Relation) -> bool,
    conn: &mut C,
) -> QueryResult<Relation>
where
    C: RawConnection,
    M: AuditedModel,
    <M::Table as QuerySource>::FromClause: QueryFragment<C::Backend>,
    C::Backend: Default,
    <C::Backend as Backend>::QueryBuilder: Default,
{
    let recorder = Recorder::of(conn).ok_or(AuditError::NoAuditor)?;
    if let Some(relation) = recorder.relations().of::<M>().filter(&suits) {
        return Ok(relation);
    }
    let table = name_of::<M::Table, C::Backend>()?;
    let key = key_of::<M>();
    let relation = own(conn, |conn| conn.relation(&table, &key))?.0;
    if let Some(recorder) = Recorder::of(conn) {
        recorder.relations().keep::<M>(relation);
    }
    Ok(relation)
}

/// Refuses a write that this relation's database would make without saying which rows it wrote.
pub(super) fn check<M, C>(write: Write, conn: &mut C) -> QueryResult<()>
where
    C: RawConnection,
    M: AuditedModel,
    <M::Table as QuerySource>::FromClause: QueryFragment<C::Backend>,
    C::Backend: Default,
    <C::Backend as Backend>::QueryBuilder: Default,
{
    let suits = |relation: &Relation| relation.obstacle(write).is_none();
    let relation = relation_of::<M, C>(suits, conn)?;
    let Some(obstacle) = relation.obstacle(write) else {
        return Ok(());
    };
    let refused = AuditError::NotReturned {
        table: name_of::<M::Table, C::Backend>()?,
        verb: write.verb(),
        reason: obstacle.reason(),
        function: write.function(),
    };
    Err(refused.into())
}

/// Whether the database counts the rows that a statement wrote: of those that a trigger writes instead,
/// SQLite says 0.
pub(super) fn is_counted<M: 'static, C: RawConnection>(conn: &mut C) -> bool {
    let is_view = |recorder: &mut Recorder| {
        let relation = recorder.relations().of::<M>();
        relation.is_some_and(|relation| relation.kind == RelationKind::View)
    };
    C::COUNTS_ROWS_OF_VIEWS || !Recorder::of(conn).is_some_and(is_view)
}

/// The SQL names of the key's columns.
pub(super) fn key_of<M: AuditedModel>() -> Vec<&'static str> {
    let mut key = Vec::new();
    M::visit_key(&mut |column| key.push(column));
    key
}
