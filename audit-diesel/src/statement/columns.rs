//! The columns that a statement reads for the trail: those of the fields that are recorded, and the
//! key. What is skipped is neither selected nor read.

use std::marker::PhantomData;

use diesel::backend::Backend;
use diesel::connection::LoadConnection;
use diesel::expression::{AppearsOnTable, Expression, SelectableExpression, ValidGrouping};
use diesel::query_builder::{AstPass, QueryBuilder, QueryFragment, QueryId};
use diesel::result::QueryResult;
use diesel::sql_types::Untyped;

use super::texts::Texts;
use crate::connection::RawConnection;
use crate::model::{AuditedRow, StoredValues};

/// The columns of a model that a statement reads.
#[derive(Debug)]
pub(super) struct Columns {
    /// Their names in SQL, in the order of the fields.
    pub(super) names: Vec<&'static str>,
    /// The names, quoted and with commas between.
    pub(super) list: String,
}

static COLUMNS: Texts<Columns> = Texts::new();

/// Where nothing else is known, a row of the connection says which fields its model has.
pub(super) type RowOf<C> = <C as LoadConnection>::Row<'static, 'static>;

impl Columns {
    /// Those of the model `M` on the connection's backend.
    pub(super) fn of<M, C>() -> &'static Self
    where
        C: RawConnection,
        M: AuditedRow<C::Backend> + 'static,
    {
        COLUMNS.of::<(M, C::Backend)>(|| {
            let mut names = Vec::new();
            M::visit::<RowOf<C>>(&mut |field| names.push(field.column));
            let quoted = names.iter().map(|name| quoted::<C::Backend>(name));
            let list = quoted.collect::<Vec<_>>().join(", ");
            Self { names, list }
        })
    }
}

/// The name in the quotes of the backend.
pub(super) fn quoted<DB>(name: &str) -> String
where
    DB: StoredValues,
{
    let mut sql = DB::QueryBuilder::default();
    // Diesel's builders do not fail here.
    let _ = sql.push_identifier(name);
    sql.finish()
}

/// The columns of the model `M`, and an expression after them.
///
/// Its type says nothing of the columns: they are read one by one, each by the type of its field.
#[derive(Debug)]
pub struct ColumnsAnd<M, E> {
    columns: &'static Columns,
    extra: E,
    model: PhantomData<fn() -> M>,
}

impl<M, E> ColumnsAnd<M, E> {
    pub(super) fn new(columns: &'static Columns, extra: E) -> Self {
        Self {
            columns,
            extra,
            model: PhantomData,
        }
    }
}

/// Whatever the model is, which it does not hold.
impl<M, E: Clone> Clone for ColumnsAnd<M, E> {
    fn clone(&self) -> Self {
        Self::new(self.columns, self.extra.clone())
    }
}

impl<M, E: Copy> Copy for ColumnsAnd<M, E> {}

impl<M: 'static, E: QueryId> QueryId for ColumnsAnd<M, E> {
    type QueryId = ColumnsAnd<M, E::QueryId>;
    const HAS_STATIC_QUERY_ID: bool = E::HAS_STATIC_QUERY_ID;
}

impl<M, E: Expression> Expression for ColumnsAnd<M, E> {
    type SqlType = Untyped;
}

impl<M, E: AppearsOnTable<QS>, QS> AppearsOnTable<QS> for ColumnsAnd<M, E> {}
impl<M, E: SelectableExpression<QS>, QS> SelectableExpression<QS> for ColumnsAnd<M, E> {}

impl<M, E: ValidGrouping<G>, G> ValidGrouping<G> for ColumnsAnd<M, E> {
    type IsAggregate = E::IsAggregate;
}

impl<M, E: QueryFragment<DB>, DB: Backend> QueryFragment<DB> for ColumnsAnd<M, E> {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, DB>) -> QueryResult<()> {
        out.push_sql(&self.columns.list);
        out.push_sql(", ");
        self.extra.walk_ast(out)
    }
}
