//! What the derive tells about a model: its columns, its key, its table.

mod fit;
mod row;
mod stored;

pub use fit::{FitsNowhere, Probe, ReadAs, fits_column, load, load_as};
pub use row::{AuditedRow, RecordedField, UNREADABLE, write};
pub(crate) use row::{ReadOutcome, Shown};
pub(crate) use stored::StoredValues;

use audit_core::Auditable;
use diesel::Table;
use diesel::associations::HasTable;

use crate::Delivery;

/// The columns that a struct maps, in the order of its fields, and what was decided about them.
///
/// `#[derive(Auditable)]` writes the implementation.
#[diagnostic::on_unimplemented(
    message = "the columns of a `{Self}` are unknown: it does not derive `Auditable`",
    label = "does not derive `Auditable`",
    note = "derive `Auditable` for it; a struct that another one embeds is `#[audit(embedded)]` as well"
)]
pub trait AuditedColumns {
    /// What was decided about each column: those of the fields, and those that the struct leaves
    /// out on purpose.
    const COLUMNS: &'static [ColumnDecision];
}

/// An embedded struct that may be missing.
impl<T: AuditedColumns> AuditedColumns for Option<T> {
    const COLUMNS: &'static [ColumnDecision] = T::COLUMNS;
}

/// What the model says of a column, or of the columns of an embedded struct.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ColumnDecision {
    /// A column.
    Column {
        /// Its name in SQL.
        name: &'static str,
        /// What happens with its values.
        decided: Decided,
    },
    /// A struct that is embedded.
    Embedded {
        /// What it says of its columns.
        columns: &'static [ColumnDecision],
        /// Whether none of them is in the trail, whatever the struct says.
        skipped: bool,
    },
}

/// What happens with the values of a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decided {
    /// They are recorded.
    InTrail,
    /// They are recorded in clear text on purpose, whatever the name says: `#[audit(plain)]`.
    Plain,
    /// They are recorded beside other changes: `#[audit(touch)]`.
    Touch,
    /// That they change is recorded, and never the values: `#[audit(redact)]`.
    Redacted,
    /// They are not part of the trail: `#[audit(skip)]`.
    Skipped,
    /// The model does not hold them: `#[audit(leave_out(…))]`.
    LeftOut,
}

impl ColumnDecision {
    /// Calls `visit` with the name of each column and what was decided about it.
    pub fn visit(columns: &[Self], visit: &mut dyn FnMut(&'static str, Decided)) {
        for column in columns {
            match *column {
                Self::Column { name, decided } => visit(name, decided),
                Self::Embedded { columns, skipped } => {
                    Self::visit(columns, &mut |name, decided| {
                        visit(name, if skipped { Decided::Skipped } else { decided });
                    })
                }
            }
        }
    }

    /// What was decided about a column, for the compiler to look it up.
    pub(crate) const fn find(columns: &[Self], wanted: &str) -> Option<Decided> {
        let mut i = 0;
        while i < columns.len() {
            match &columns[i] {
                Self::Column { name, decided } if is_same(name, wanted) => return Some(*decided),
                Self::Column { .. } => {}
                Self::Embedded { columns, skipped } => match Self::find(columns, wanted) {
                    Some(_) if *skipped => return Some(Decided::Skipped),
                    None => {}
                    found => return found,
                },
            }
            i += 1;
        }
        None
    }
}

/// `==` of texts is not for the compiler's use yet.
const fn is_same(one: &str, other: &str) -> bool {
    let (one, other) = (one.as_bytes(), other.as_bytes());
    if one.len() != other.len() {
        return false;
    }
    let mut i = 0;
    while i < one.len() {
        if one[i] != other[i] {
            return false;
        }
        i += 1;
    }
    true
}

/// A model: an [`Auditable`] row of a Diesel table.
///
/// `#[derive(Auditable)]` writes the implementation.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no audited model: it does not derive `Auditable`",
    label = "does not derive `Auditable`",
    note = "add `#[derive(Auditable)]` to it, beside `#[diesel(table_name = …)]`"
)]
pub trait AuditedModel: Auditable + AuditedColumns + Sized + 'static {
    /// The table that the model maps.
    type Table: Table + HasTable<Table = Self::Table>;

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
/// ```
/// use audit_diesel::{Auditable, AuditedBy};
/// use serde::Serialize;
///
/// # fn main() {}
/// diesel::table! {
///     documents (id) {
///         id -> Integer,
///         body -> Jsonb,
///     }
/// }
///
/// #[derive(Auditable)]
/// #[diesel(table_name = documents)]
/// struct Document<T> {
///     id: i32,
///     body: T,
/// }
///
/// #[derive(PartialEq, Serialize)]
/// struct Invoice {
///     total: i64,
/// }
///
/// impl AuditedBy<Document<Invoice>> for documents::table {}
/// ```
#[diagnostic::on_unimplemented(
    message = "table `{Self}` has no model that derives `Auditable`",
    label = "no audited model for this table",
    note = "add `#[derive(Auditable)]` to the struct with `#[diesel(table_name = …)]` for this table, \
            or use `diesel::` here if the table is not to be audited"
)]
pub trait AuditedBy<M: AuditedModel<Table = Self>>: Table {}
