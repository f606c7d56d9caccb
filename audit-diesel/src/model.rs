//! What the derive tells about a model: its columns, its key, its table.

use audit_core::Auditable;
use diesel::dsl::Nullable;
use diesel::{NullableExpressionMethods, Table};

use crate::Delivery;

/// The columns that a struct maps, in the order of its fields.
///
/// `#[derive(Auditable)]` writes the implementation.
#[diagnostic::on_unimplemented(
    message = "the columns of a `{Self}` are unknown: it does not derive `Auditable`",
    label = "does not derive `Auditable`",
    note = "derive `Auditable` for it; a struct that another one embeds is `#[audit(embedded)]` as well"
)]
pub trait AuditedColumns {
    /// The columns as a tuple, to be returned by a statement and loaded into the struct.
    type Columns;

    /// The columns.
    fn columns() -> Self::Columns;

    /// Calls `visit` with the SQL name of each column, in the same order.
    fn visit_columns(visit: &mut dyn FnMut(&'static str));
}

/// An embedded struct that may be missing, as Diesel selects it.
impl<T> AuditedColumns for Option<T>
where
    T: AuditedColumns,
    T::Columns: NullableExpressionMethods,
{
    type Columns = Nullable<T::Columns>;

    fn columns() -> Self::Columns {
        T::columns().nullable()
    }

    fn visit_columns(visit: &mut dyn FnMut(&'static str)) {
        T::visit_columns(visit);
    }
}

/// A model: an [`Auditable`] row of a Diesel table.
///
/// `#[derive(Auditable)]` writes the implementation.
pub trait AuditedModel: Auditable + AuditedColumns + Sized + 'static {
    /// The table that the model maps.
    type Table: Table;

    /// How the model's records are delivered, where that is not left to the auditor.
    const DELIVERY: Option<Delivery> = None;

    /// Calls `visit` with the SQL name of each column of the primary key.
    fn visit_key(visit: &mut dyn FnMut(&'static str));
}

/// Names the one model whose changes are recorded when a table is written.
///
/// `#[derive(Auditable)]` implements it for the model's table. The model stands first among the
/// parameters so that the table may come from another crate. For a model with type parameters
/// without defaults, write the implementation by hand and say which type is meant:
///
/// ```ignore
/// impl AuditedBy<Document<Invoice>> for documents::table {}
/// ```
#[diagnostic::on_unimplemented(
    message = "table `{Self}` has no model that derives `Auditable`",
    label = "no audited model for this table",
    note = "add `#[derive(Auditable)]` to the struct with `#[diesel(table_name = …)]` for this table, \
            or use `diesel::` here if the table is not to be audited"
)]
pub trait AuditedBy<M: AuditedModel<Table = Self>>: Table {}
