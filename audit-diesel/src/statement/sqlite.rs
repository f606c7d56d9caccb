//! SQLite: RETURNING cannot see the old row, so an update reads it first, holding the write lock.

mod relation;

pub(crate) use relation::relation;

use std::collections::BTreeMap;
use std::marker::PhantomData;
use std::rc::Rc;
use std::sync::Arc;

use audit_core::ChangeKind;
use diesel::connection::Connection;
use diesel::expression::Expression;
use diesel::query_builder::{AstPass, Query, QueryFragment, QueryId};
use diesel::query_dsl::{LoadQuery, RunQueryDsl};
use diesel::result::{EmptyChangeset, Error, QueryResult};
use diesel::sql_types::BigInt;
use diesel::sqlite::Sqlite;
use diesel::{SelectableExpression, SqliteConnection, Table};

use super::ChangeStatement;
use super::insert::rendered;
use super::recording::Recording;
use super::relation::check;
use super::returning::WriteMark;
use super::row::{Loaded, Mark, Output, RowChange};
use super::texts::Texts;
use super::update::{self, UpdateStatement};
use crate::model::AuditedModel;
use crate::recorder::{Recorder, own};
use crate::relation::Write;

/// `UPDATE t SET key = key WHERE 0`: takes the write lock, as the update itself would, before the
/// old rows are read. A transaction that reads first and writes later could be refused the lock.
#[derive(Debug)]
struct TakeWriteLock<'a, F> {
    from_clause: &'a F,
    key: &'static str,
}

impl<F> QueryId for TakeWriteLock<'_, F> {
    type QueryId = ();
    const HAS_STATIC_QUERY_ID: bool = false;
}

impl<F: QueryFragment<Sqlite>> QueryFragment<Sqlite> for TakeWriteLock<'_, F> {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Sqlite>) -> QueryResult<()> {
        out.push_sql("UPDATE ");
        self.from_clause.walk_ast(out.reborrow())?;
        out.push_sql(" SET ");
        out.push_identifier(self.key)?;
        out.push_sql(" = ");
        out.push_identifier(self.key)?;
        out.push_sql(" WHERE 0");
        Ok(())
    }
}

/// Both statements of an update read the same one.
type Shared<T, W, C> = Rc<UpdateStatement<T, W, C>>;

/// The model's columns. Backticks, as SQLite takes an unknown name in double quotes for a text.
static COLUMNS: Texts<String> = Texts::new();

fn columns<M: AuditedModel>() -> Arc<String> {
    COLUMNS.of::<M>(|| {
        let names = update::columns::<M>().into_iter();
        names.map(quoted).collect::<Vec<_>>().join(", ")
    })
}

fn quoted(name: &str) -> String {
    format!("`{}`", name.replace('`', "``"))
}

/// The rows that the update will change, as they are.
pub struct SelectOld<T: Table, W, C, M> {
    update: Shared<T, W, C>,
    columns: Arc<String>,
    model: PhantomData<fn() -> M>,
}

impl<T: Table, W, C, M> QueryId for SelectOld<T, W, C, M> {
    type QueryId = ();
    const HAS_STATIC_QUERY_ID: bool = false;
}

impl<T: Table, W, C, M> Query for SelectOld<T, W, C, M>
where
    M: AuditedModel,
    M::Columns: Expression,
{
    type SqlType = (<M::Columns as Expression>::SqlType, (BigInt, BigInt));
}

impl<T: Table, W, C, M, Conn> RunQueryDsl<Conn> for SelectOld<T, W, C, M> {}

impl<T, W, C, M> QueryFragment<Sqlite> for SelectOld<T, W, C, M>
where
    T: Table,
    T::FromClause: QueryFragment<Sqlite>,
    W: QueryFragment<Sqlite>,
    M: AuditedModel,
{
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Sqlite>) -> QueryResult<()> {
        out.push_sql("SELECT ");
        out.push_sql(&self.columns);
        out.push_sql(", ");
        WriteMark.walk_ast(out.reborrow())?;
        self.update.walk_from_where(out)
    }
}

/// The update, returning the rows as they are after it.
pub struct UpdateReturning<T: Table, W, C, M, E> {
    update: Shared<T, W, C>,
    columns: Arc<String>,
    extra: E,
    model: PhantomData<fn() -> M>,
}

impl<T: Table, W, C, M, E> QueryId for UpdateReturning<T, W, C, M, E> {
    type QueryId = ();
    const HAS_STATIC_QUERY_ID: bool = false;
}

impl<T: Table, W, C, M, E> Query for UpdateReturning<T, W, C, M, E>
where
    M: AuditedModel,
    M::Columns: Expression,
    E: Expression,
{
    type SqlType = (<M::Columns as Expression>::SqlType, E::SqlType);
}

impl<T: Table, W, C, M, E, Conn> RunQueryDsl<Conn> for UpdateReturning<T, W, C, M, E> {}

impl<T, W, C, M, E> QueryFragment<Sqlite> for UpdateReturning<T, W, C, M, E>
where
    T: Table,
    T::FromClause: QueryFragment<Sqlite>,
    W: QueryFragment<Sqlite>,
    C: QueryFragment<Sqlite>,
    E: QueryFragment<Sqlite>,
{
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Sqlite>) -> QueryResult<()> {
        self.update.walk_update_set(out.reborrow())?;
        self.update.where_clause.walk_ast(out.reborrow())?;
        out.push_sql(" RETURNING ");
        out.push_sql(&self.columns);
        out.push_sql(", ");
        self.extra.walk_ast(out.reborrow())
    }
}

impl<'query, T, W, C, M, E, X> ChangeStatement<'query, SqliteConnection, M, E, X>
    for UpdateStatement<T, W, C>
where
    T: Table,
    T::FromClause: QueryFragment<Sqlite>,
    C: QueryFragment<Sqlite>,
    M: AuditedModel<Table = T>,
    X: Output,
    E: SelectableExpression<T>,
    SelectOld<T, W, C, M>: LoadQuery<'query, SqliteConnection, Loaded<M, Mark>>,
    UpdateReturning<T, W, C, M, E>: LoadQuery<'query, SqliteConnection, Loaded<M, X>>,
{
    fn run(self, extra: E, conn: &mut SqliteConnection) -> QueryResult<Vec<X>> {
        if self.changes.is_noop(&Sqlite)? {
            return Err(Error::QueryBuilderError(Box::new(EmptyChangeset)));
        }
        check::<M, _>(Write::Update { filtered: true }, conn)?;
        let update = Rc::new(self);
        let (changes, outputs) = own(conn, |conn| read_and_update(&update, extra, conn))?;
        let mut recording = Recording::begin::<M, _>(conn)?;
        for change in changes {
            recording.add(&change, Mark::default());
        }
        recording.finish(conn)?;
        Ok(outputs)
    }
}

fn read_and_update<'query, T, W, C, M, E, X>(
    update: &Shared<T, W, C>,
    extra: E,
    conn: &mut SqliteConnection,
) -> QueryResult<(Vec<RowChange<M>>, Vec<X>)>
where
    T: Table,
    T::FromClause: QueryFragment<Sqlite>,
    C: QueryFragment<Sqlite>,
    M: AuditedModel<Table = T>,
    SelectOld<T, W, C, M>: LoadQuery<'query, SqliteConnection, Loaded<M, Mark>>,
    UpdateReturning<T, W, C, M, E>: LoadQuery<'query, SqliteConnection, Loaded<M, X>>,
{
    take_write_lock::<M, _>(&update.from_clause, conn)?;
    let select = SelectOld {
        update: Rc::clone(update),
        columns: columns::<M>(),
        model: PhantomData,
    };
    // A model that does not fit the table must not stop the update.
    let old = select
        .load(conn)?
        .into_iter()
        .map(|row: Loaded<M, Mark>| row.change.ok())
        .collect();
    let returning = UpdateReturning {
        update: Rc::clone(update),
        columns: columns::<M>(),
        extra,
        model: PhantomData::<fn() -> M>,
    };
    let (new, outputs): (Vec<_>, Vec<_>) = returning
        .load(conn)?
        .into_iter()
        .map(|row: Loaded<M, X>| (row.change.ok(), row.extra))
        .unzip();
    let sets_key = || sets_key::<M, _>(&update.changes);
    Ok((paired(old, new, sets_key), outputs))
}

/// Whether the update may give rows other keys. Where it does not, and other rows come back than were
/// read, its filter did not name the same ones twice, as one with `random()` in it.
fn sets_key<M, C>(changes: &C) -> bool
where
    M: AuditedModel,
    C: QueryFragment<Sqlite>,
{
    let sql = rendered(changes).unwrap_or_default();
    let mut sets_key = false;
    M::visit_key(&mut |column| sets_key |= sql.contains(&format!("{} = ", quoted(column))));
    sets_key
}

fn take_write_lock<M, F>(from_clause: &F, conn: &mut SqliteConnection) -> QueryResult<()>
where
    M: AuditedModel,
    F: QueryFragment<Sqlite>,
{
    if Recorder::of(conn).is_some_and(|recorder| recorder.has_write_lock()) {
        return Ok(());
    }
    let mut key = None;
    M::visit_key(&mut |column| key = key.or(Some(column)));
    if let Some(key) = key {
        conn.execute_returning_count(&TakeWriteLock { from_clause, key })?;
    }
    Ok(())
}

/// Pairs rows by their key. The row of an update of one row is found again though its key changed;
/// where several rows got new keys, it is recorded what became of each key.
fn paired<M: AuditedModel>(
    mut old: Vec<Option<M>>,
    mut new: Vec<Option<M>>,
    sets_key: impl Fn() -> bool,
) -> Vec<RowChange<M>> {
    if let ([Some(was)], [Some(is)]) = (&old[..], &new[..])
        && (was.resource_id() == is.resource_id() || sets_key())
        && let (Some(Some(old)), Some(Some(new))) = (old.pop(), new.pop())
    {
        return vec![RowChange::Update { old, new }];
    }
    paired_by_key(old, new, sets_key)
}

fn paired_by_key<M: AuditedModel>(
    old: Vec<Option<M>>,
    new: Vec<Option<M>>,
    sets_key: impl Fn() -> bool,
) -> Vec<RowChange<M>> {
    let all_readable = old.iter().chain(&new).all(Option::is_some);
    let by_key = |old: M| (old.resource_id(), old);
    let mut by_key: BTreeMap<String, M> = old.into_iter().flatten().map(by_key).collect();
    let mut changes = Vec::with_capacity(new.len());
    let mut come = Vec::new();
    for new in new {
        let old = new
            .as_ref()
            .and_then(|new| by_key.remove(&new.resource_id()));
        match (old, new) {
            (Some(old), Some(new)) => changes.push(RowChange::Update { old, new }),
            (_, Some(new)) => come.push(new),
            (_, None) => changes.push(RowChange::Unreadable(ChangeKind::Update)),
        }
    }
    if come.is_empty() {
        return changes;
    }
    if all_readable && come.len() == by_key.len() && sets_key() {
        changes.extend(by_key.into_values().map(RowChange::Delete));
        changes.extend(come.into_iter().map(RowChange::Insert));
    } else {
        // Old rows that are left over were not updated after all (a trigger may do that, or a filter
        // that is never the same), or cannot be told from unreadable ones.
        let unreadable = |_| RowChange::Unreadable(ChangeKind::Update);
        changes.extend(come.into_iter().map(unreadable));
    }
    changes
}
