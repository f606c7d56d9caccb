//! What the relation is that a model's table name means on a connection: asked once, and refused where
//! the write could not be recorded truthfully.

use diesel::QuerySource;
use diesel::associations::HasTable;
use diesel::query_builder::QueryFragment;
use diesel::result::QueryResult;

use super::debug::rendered;
use super::texts::Texts;
use crate::AuditError;
use crate::connection::{PlannedWrite, RawConnection};
use crate::model::{AuditedModel, StoredValues};
use crate::recorder::{Recorder, own};
use crate::relation::{Relation, RelationKind, Write};

/// How a model's table and the columns of its key are called.
#[derive(Debug)]
pub(super) struct Names {
    /// The table as it stands in SQL.
    pub(super) table: String,
    /// The columns without quotes.
    pub(super) key: Vec<&'static str>,
}

static NAMES: Texts<Names> = Texts::new();

/// The names of the model `M` on a backend.
pub(super) fn names_of<M, DB>() -> QueryResult<&'static Names>
where
    M: AuditedModel,
    <M::Table as QuerySource>::FromClause: QueryFragment<DB>,
    DB: StoredValues + Default,
{
    if let Some(names) = NAMES.known::<(M, DB)>() {
        return Ok(names);
    }
    let table = rendered(&M::Table::table().from_clause())?;
    let mut key = Vec::new();
    M::visit_key(&mut |column| key.push(column));
    Ok(NAMES.of::<(M, DB)>(|| Names { table, key }))
}

/// What the relation is that is about to be written, as far as it has to be known: what was told before
/// is taken where it `suits` and the write can be recorded by it, and else the database is asked anew,
/// as whatever was in the way may be gone.
///
/// # Errors
///
/// [`AuditError::NotReturned`] where the database would write without saying which rows.
pub(super) fn writable<M, C>(
    write: Write,
    suits: impl Fn(&Relation) -> bool,
    conn: &mut C,
) -> QueryResult<Relation>
where
    C: RawConnection,
    M: AuditedModel,
    <M::Table as QuerySource>::FromClause: QueryFragment<C::Backend>,
    C::Backend: Default,
{
    let names = names_of::<M, C::Backend>()?;
    let planned = planned(write, names);
    let version = own(conn, |conn| conn.before_questions(&planned))?;
    let suits = |relation: &Relation| suits(relation) && relation.obstacle(write).is_none();
    if version.is_some() || !write.needs_fresh_answer() {
        let recorder = Recorder::of(conn).ok_or(AuditError::NoAuditor)?;
        if let Some(known) = recorder.relations().of::<M>(version).filter(suits) {
            return Ok(known);
        }
    }
    let relation = ask::<M, C>(&planned, version, conn)?;
    let Some(obstacle) = relation.obstacle(write) else {
        return Ok(relation);
    };
    let refused = AuditError::NotReturned {
        table: names.table.clone(),
        verb: write.verb(),
        reason: obstacle.reason(),
        function: write.function(),
    };
    Err(refused.into())
}

/// Looks at the relation after an insert that returned fewer rows than it was given. Where another
/// session has put something in the way since it was asked about, rows may have been written that
/// nobody knows: that leaves a trace, and the next insert is refused.
pub(super) fn look_after_insert<M, C>(conn: &mut C)
where
    C: RawConnection,
    M: AuditedModel,
    <M::Table as QuerySource>::FromClause: QueryFragment<C::Backend>,
    C::Backend: Default,
{
    let insert = Write::Insert { counted: true };
    let Ok(names) = names_of::<M, C::Backend>() else {
        return;
    };
    let is_sure = |recorder: &mut Recorder| recorder.relations().is_versioned::<M>();
    if Recorder::of(conn).is_none_or(is_sure) {
        return;
    }
    // The rows are written: nothing that goes wrong here may become the caller's error.
    let relation = ask::<M, C>(&planned(insert, names), None, conn);
    if relation.is_ok_and(|relation| relation.obstacle(insert).is_some())
        && let Some(recorder) = Recorder::of(conn)
    {
        recorder.record_unreturned(M::resource_type(), "INSERT");
    }
}

fn planned(write: Write, names: &'static Names) -> PlannedWrite {
    PlannedWrite {
        write,
        table: &names.table,
        key: &names.key,
    }
}

fn ask<M, C>(write: &PlannedWrite, version: Option<i32>, conn: &mut C) -> QueryResult<Relation>
where
    C: RawConnection,
    M: AuditedModel,
{
    let relation = own(conn, |conn| conn.relation(write))?.0;
    if let Some(recorder) = Recorder::of(conn) {
        recorder.relations().keep::<M>(relation, version);
    }
    Ok(relation)
}

/// Whether the database counts the rows that a statement wrote: of those that a trigger writes instead,
/// SQLite says 0.
pub(super) fn is_counted<M: 'static, C: RawConnection>(conn: &mut C) -> bool {
    let is_view = |recorder: &mut Recorder| {
        let relation = recorder.relations().latest::<M>();
        relation.is_some_and(|relation| relation.kind == RelationKind::View)
    };
    C::COUNTS_ROWS_OF_VIEWS || !Recorder::of(conn).is_some_and(is_view)
}
