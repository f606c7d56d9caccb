//! SQLite: RETURNING cannot see the old row, so an update reads it first, holding the write lock
//! (`connection/sqlite/write_lock.rs`).

mod kept;
mod stored;

use std::marker::PhantomData;
use std::rc::Rc;

use diesel::connection::LoadConnection;
use diesel::deserialize::FromSqlRow;
use diesel::expression::Expression;
use diesel::query_builder::{AstPass, Query, QueryFragment, QueryId};
use diesel::query_dsl::RunQueryDsl;
use diesel::result::{EmptyChangeset, Error, QueryResult};
use diesel::sql_types::Untyped;
use diesel::sqlite::Sqlite;
use diesel::{SelectableExpression, SqliteConnection, Table};

use super::ChangeStatement;
use super::columns::{Columns, RowOf, quoted};
use super::debug::{ShowSql, rendered};
use super::image::ReturnedRow;
use super::recording::{Recording, extra_of};
use super::relation::writable;
use super::row::{Mark, Output};
use super::row_changes::RowChange;
use super::update::UpdateStatement;
use crate::model::{AuditedModel, AuditedRow};
use crate::recorder::own;
use crate::relation::Write;
use kept::key_of;
pub(in crate::statement) use kept::{KeptAnd, KeptRow};

/// Both statements of an update read the same one.
type Shared<T, W, C> = Rc<UpdateStatement<T, W, C>>;

/// The rows that the update will change, as they are.
pub struct SelectOld<T: Table, W, C, M> {
    update: Shared<T, W, C>,
    columns: &'static Columns,
    model: PhantomData<fn() -> M>,
}

impl<T: Table, W, C, M> QueryId for SelectOld<T, W, C, M> {
    type QueryId = ();
    const HAS_STATIC_QUERY_ID: bool = false;
}

impl<T: Table, W, C, M> Query for SelectOld<T, W, C, M> {
    type SqlType = Untyped;
}

impl<T: Table, W, C, M, Conn> RunQueryDsl<Conn> for SelectOld<T, W, C, M> {}

impl<T, W, C, M> QueryFragment<Sqlite> for SelectOld<T, W, C, M>
where
    T: Table,
    T::FromClause: QueryFragment<Sqlite>,
    W: QueryFragment<Sqlite>,
{
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Sqlite>) -> QueryResult<()> {
        out.push_sql("SELECT ");
        out.push_sql(&self.columns.list);
        self.update.walk_from_where(out)
    }
}

/// The update, returning the rows as they are after it.
pub struct UpdateReturning<T: Table, W, C, M, E> {
    update: Shared<T, W, C>,
    columns: &'static Columns,
    extra: E,
    model: PhantomData<fn() -> M>,
}

impl<T: Table, W, C, M, E> QueryId for UpdateReturning<T, W, C, M, E> {
    type QueryId = ();
    const HAS_STATIC_QUERY_ID: bool = false;
}

impl<T: Table, W, C, M, E> Query for UpdateReturning<T, W, C, M, E> {
    type SqlType = Untyped;
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
        out.push_sql(&self.columns.list);
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
    M: AuditedModel<Table = T> + AuditedRow<Sqlite>,
    X: Output + FromSqlRow<E::SqlType, Sqlite>,
    E: SelectableExpression<T>,
    SelectOld<T, W, C, M>: QueryFragment<Sqlite> + 'query,
    UpdateReturning<T, W, C, M, E>: QueryFragment<Sqlite> + 'query,
{
    fn run(self, extra: E, conn: &mut SqliteConnection) -> QueryResult<Vec<X>> {
        if self.changes.is_noop(&Sqlite)? {
            return Err(Error::QueryBuilderError(Box::new(EmptyChangeset)));
        }
        writable::<M, _>(Write::Update { filtered: true }, |_| true, conn)?;
        let update = Rc::new(self);
        let mut recording = Recording::begin::<M, _>(conn)?;
        let outputs = own(conn, |conn| {
            let old = read_old::<T, W, C, M>(&update, conn)?;
            update_recording::<T, W, C, M, E, X>(&update, extra, old, &mut recording, conn)
        })?;
        recording.finish(conn)?;
        Ok(outputs)
    }
}

impl<T, W, C, M> ShowSql<Sqlite, M> for UpdateStatement<T, W, C>
where
    T: Table,
    T::FromClause: QueryFragment<Sqlite> + Clone,
    W: QueryFragment<Sqlite>,
    C: QueryFragment<Sqlite>,
    M: AuditedModel<Table = T> + AuditedRow<Sqlite>,
{
    /// The update itself; `SelectOld` is a select with the same WHERE.
    fn show(&self, extra: &dyn QueryFragment<Sqlite>) -> QueryResult<String> {
        rendered(&UpdateReturning {
            update: Rc::new(self.borrowed()),
            columns: Columns::of::<M, SqliteConnection>(),
            extra,
            model: PhantomData::<fn() -> M>,
        })
    }
}

/// Reads the rows that the update will change, holding the write lock.
fn read_old<'query, T, W, C, M>(
    update: &Shared<T, W, C>,
    conn: &mut SqliteConnection,
) -> QueryResult<OldRows>
where
    T: Table,
    T::FromClause: QueryFragment<Sqlite>,
    M: AuditedModel<Table = T> + AuditedRow<Sqlite>,
    SelectOld<T, W, C, M>: QueryFragment<Sqlite> + 'query,
{
    let select = SelectOld::<T, W, C, M> {
        update: Rc::clone(update),
        columns: Columns::of::<M, SqliteConnection>(),
        model: PhantomData,
    };
    let rows = <SqliteConnection as LoadConnection>::load(conn, select)?;
    let rows: QueryResult<Vec<_>> = rows.map(|row| Ok(KeptRow::of::<M, _>(&row?))).collect();
    Ok(OldRows::new(rows?))
}

/// Updates, and records each row that comes back beside the one that it was.
fn update_recording<'query, T, W, C, M, E, X>(
    update: &Shared<T, W, C>,
    extra: E,
    mut old: OldRows,
    recording: &mut Recording,
    conn: &mut SqliteConnection,
) -> QueryResult<Vec<X>>
where
    T: Table,
    C: QueryFragment<Sqlite>,
    M: AuditedModel<Table = T> + AuditedRow<Sqlite>,
    E: Expression,
    X: Output + FromSqlRow<E::SqlType, Sqlite>,
    UpdateReturning<T, W, C, M, E>: QueryFragment<Sqlite> + 'query,
{
    let columns = Columns::of::<M, SqliteConnection>();
    let count = columns.names.len();
    let returning = UpdateReturning::<T, W, C, M, E> {
        update: Rc::clone(update),
        columns,
        extra,
        model: PhantomData,
    };
    let mut outputs = Vec::new();
    let mut come = Vec::new();
    for row in <SqliteConnection as LoadConnection>::load(conn, returning)? {
        let row = &row?;
        outputs.push(extra_of(row, count)?);
        let new = ReturnedRow { row, first: 0 };
        match old.take(key_of::<M, _>(&new)) {
            Some(old) => {
                let change = RowChange::Update { old, new };
                recording.add::<M, Sqlite, _, _, _>(&change, Mark::default());
            }
            None => come.push(KeptRow::of::<M, _>(row)),
        }
    }
    for change in unpaired(old, come, || sets_key::<M, _>(&update.changes)) {
        let mark = Mark::default();
        recording.add::<M, Sqlite, RowOf<SqliteConnection>, _, _>(&change, mark);
    }
    Ok(outputs)
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
    M::visit_key(&mut |column| {
        sets_key |= sql.contains(&format!("{} = ", quoted::<Sqlite>(column)))
    });
    sets_key
}

/// The rows before an update, by their keys.
struct OldRows {
    /// In the order of their keys.
    rows: Vec<Option<KeptRow>>,
    keys: Vec<Option<Vec<u8>>>,
}

impl OldRows {
    fn new(mut rows: Vec<KeptRow>) -> Self {
        rows.sort_by(|one, other| one.key.cmp(&other.key));
        Self {
            keys: rows.iter_mut().map(|row| row.key.take()).collect(),
            rows: rows.into_iter().map(Some).collect(),
        }
    }

    /// The row of this key, where it is the only one that has it.
    fn take(&mut self, key: Option<Vec<u8>>) -> Option<KeptRow> {
        let key = Some(key?);
        let at = self.keys.partition_point(|it| *it < key);
        let is_of_key = |at: usize| self.keys.get(at) == Some(&key);
        if !is_of_key(at) || is_of_key(at + 1) {
            return None;
        }
        self.rows[at].take()
    }
}

/// What became of rows whose key is not one of before. The row of an update of one row is found again
/// though its key changed; where several rows got new keys, it is recorded what became of each key.
fn unpaired(
    old: OldRows,
    mut come: Vec<KeptRow>,
    sets_key: impl FnOnce() -> bool,
) -> Vec<RowChange<KeptRow, KeptRow>> {
    if come.is_empty() {
        return Vec::new();
    }
    let is_one = old.rows.len() == 1;
    let mut left: Vec<_> = old.rows.into_iter().flatten().collect();
    if left.len() != come.len() || !sets_key() {
        // Old rows that are left over were not updated after all: a trigger may do that, or a filter
        // that is never the same.
        return come.into_iter().map(RowChange::Unpaired).collect();
    }
    if is_one && let (Some(old), Some(new)) = (left.pop(), come.pop()) {
        return vec![RowChange::Update { old, new }];
    }
    let gone = left.into_iter().map(RowChange::Delete);
    gone.chain(come.into_iter().map(RowChange::Insert))
        .collect()
}
