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
use crate::relation::{Relation, Write};

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

/// What the relation is.
pub(super) fn relation_of<M, C>(conn: &mut C) -> QueryResult<Relation>
where
    C: RawConnection,
    M: AuditedModel,
    <M::Table as QuerySource>::FromClause: QueryFragment<C::Backend>,
    C::Backend: Default,
    <C::Backend as Backend>::QueryBuilder: Default,
{
    let recorder = Recorder::of(conn).ok_or(AuditError::NoAuditor)?;
    if let Some(relation) = recorder.relations().of::<M>() {
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

/// What the relation is, where this write of it can be recorded.
pub(super) fn check<M, C>(write: Write, conn: &mut C) -> QueryResult<Relation>
where
    C: RawConnection,
    M: AuditedModel,
    <M::Table as QuerySource>::FromClause: QueryFragment<C::Backend>,
    C::Backend: Default,
    <C::Backend as Backend>::QueryBuilder: Default,
{
    let relation = relation_of::<M, C>(conn)?;
    let Some(reason) = relation.refuses(write) else {
        return Ok(relation);
    };
    let table = name_of::<M::Table, C::Backend>()?;
    let verb = write.verb();
    Err(AuditError::NotReturned {
        table,
        verb,
        reason,
    }
    .into())
}

/// The SQL names of the key's columns.
pub(super) fn key_of<M: AuditedModel>() -> Vec<&'static str> {
    let mut key = Vec::new();
    M::visit_key(&mut |column| key.push(column));
    key
}
