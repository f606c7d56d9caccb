//! How a model's fields are read from a row that a statement returned: each on its own, so that one
//! that cannot be read hides none of the others.

use std::any::TypeId;

use diesel::backend::Backend;
use diesel::row::Row;
use diesel::sql_types::{
    BigInt, Bool, Date, Double, Float, Integer, Nullable, Numeric, SmallInt, Time, Timestamp,
};
use serde::Serialize;
use serde_json::Value;

use super::Decided;

/// Whether a type is one of these, or one of these that may be missing.
macro_rules! is_one_of {
    (ST: $($known:ty),+) => {
        [$(TypeId::of::<$known>(), TypeId::of::<Nullable<$known>>()),+].contains(&TypeId::of::<ST>())
    };
    (T: $($known:ty),+) => {
        [$(TypeId::of::<$known>(), TypeId::of::<Option<$known>>()),+].contains(&TypeId::of::<T>())
    };
}

/// A model whose fields can be read from rows of the backend `DB`.
///
/// `#[derive(Auditable)]` writes the implementation, for each backend that the types of the fields
/// can be loaded from: `FromSql` and `FromSqlRow`, as for `Queryable`.
#[diagnostic::on_unimplemented(
    message = "the fields of `{Self}` cannot be read from the columns of its table on `{DB}`",
    label = "a field's type does not fit its column",
    note = "each field's type has to load from the SQL type of its column, as `#[derive(Queryable)]` asks for as well"
)]
pub trait AuditedRow<DB: Backend> {
    /// Calls `visit` with each field that a statement reads, in the order of its columns. Those that
    /// are skipped are not among them, unless they are of the key.
    fn visit<'a, R: Row<'a, DB>>(visit: &mut dyn FnMut(&RecordedField<R>));
}

/// An embedded struct that may be missing. Where it is, its columns are NULL.
impl<T: AuditedRow<DB>, DB: Backend> AuditedRow<DB> for Option<T> {
    fn visit<'a, R: Row<'a, DB>>(visit: &mut dyn FnMut(&RecordedField<R>)) {
        T::visit::<R>(visit);
    }
}

/// A field that a statement reads from its rows `R`.
#[derive(Debug)]
pub struct RecordedField<R> {
    pub(crate) column: &'static str,
    pub(crate) name: &'static str,
    pub(crate) decided: Decided,
    /// Its place in the key.
    pub(crate) key: Option<usize>,
    /// Asked for where it is needed: a field is made at each visit, and most values are just read.
    shown: fn() -> Shown,
    read: ReadField<R>,
}

/// Reads the column at this place of the row, and writes the value as JSON.
type ReadField<R> = fn(&R, usize, &mut Vec<u8>) -> ReadOutcome;

/// How a value is shown where the field's type cannot read it, or cannot tell it from another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shown {
    /// In the form that the author has chosen, or that the type has for serde, and in no other: it
    /// may be there to hide something.
    AsFormed,
    /// As the database has it; the type is one of JSON.
    Json,
    /// As the database has it; the type is one of numbers.
    Number,
    /// As the database has it.
    Stored,
}

/// What came of reading a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReadOutcome {
    /// It is written as JSON.
    Written,
    /// Its type can read it and not serialise it.
    Unserializable,
    /// Its type cannot read it.
    Unreadable,
}

impl<R> RecordedField<R> {
    /// A field of type `T` that is recorded as what serde makes of it.
    #[doc(hidden)]
    pub fn new<T: 'static, ST: 'static>(
        column: &'static str,
        decided: Decided,
        read: ReadField<R>,
    ) -> Self {
        Self {
            column,
            name: column,
            decided,
            key: None,
            shown: Shown::of::<T, ST>,
            read,
        }
    }

    /// A field that is never read: whether it changed is told by what the database sent.
    #[doc(hidden)]
    pub fn redacted(column: &'static str) -> Self {
        Self {
            column,
            name: column,
            decided: Decided::Redacted,
            key: None,
            shown: || Shown::AsFormed,
            read: |_, _, _| ReadOutcome::Unreadable,
        }
    }

    /// It is recorded in another form of its value.
    #[doc(hidden)]
    #[must_use]
    pub fn formed(self) -> Self {
        Self {
            shown: || Shown::AsFormed,
            ..self
        }
    }

    /// It has another name in the trail.
    #[doc(hidden)]
    #[must_use]
    pub fn renamed(self, name: &'static str) -> Self {
        Self { name, ..self }
    }

    /// It has this place in the key.
    #[doc(hidden)]
    #[must_use]
    pub fn key(self, place: usize) -> Self {
        Self {
            key: Some(place),
            ..self
        }
    }

    /// How its values are shown where its type is no help.
    pub(crate) fn shown(&self) -> Shown {
        (self.shown)()
    }

    /// Writes the value of the column at this place of the row as JSON. Where it cannot be read,
    /// nothing is written.
    ///
    /// # Panics
    ///
    /// Where the type of the field does.
    pub(crate) fn read(&self, row: &R, at: usize, json: &mut Vec<u8>) -> ReadOutcome {
        let start = json.len();
        let outcome = (self.read)(row, at, json);
        if outcome != ReadOutcome::Written {
            json.truncate(start);
        }
        outcome
    }
}

impl Shown {
    /// How a value of a column of the SQL type `ST` is shown, for a field of type `T`.
    fn of<T: 'static, ST: 'static>() -> Self {
        if is_one_of!(T: Value) {
            Self::Json
        } else if is_one_of!(T: i16, i32, i64, f32, f64) {
            Self::Number
        } else if is_no_text::<ST>() || !can_hold_text::<T>() {
            Self::Stored
        } else {
            Self::AsFormed
        }
    }
}

/// Whether values of this SQL type are numbers, times and the like, which are no free text.
fn is_no_text<ST: 'static>() -> bool {
    is_one_of!(ST: SmallInt, Integer, BigInt, Float, Double, Numeric, Bool, Date, Time, Timestamp)
        || is_no_text_of_backend::<ST>()
}

fn is_no_text_of_backend<ST: 'static>() -> bool {
    #[cfg(feature = "postgres")]
    if is_one_of!(ST: diesel::sql_types::Timestamptz, diesel::sql_types::Uuid) {
        return true;
    }
    #[cfg(feature = "sqlite")]
    if is_one_of!(ST: diesel::sql_types::TimestamptzSqlite) {
        return true;
    }
    false
}

/// Whether a value of this type may have a text in it. What has none is an enum without fields, whose
/// texts are labels. Any other type may hide its text from serde on purpose, as one of a password
/// does: nobody can ask the type, as there is no value of it.
const fn can_hold_text<T>() -> bool {
    std::mem::needs_drop::<T>() || size_of::<T>() > size_of::<i32>()
}

/// Writes a form of a value as JSON.
#[doc(hidden)]
pub fn write<T: Serialize + ?Sized>(json: &mut Vec<u8>, form: &T) -> ReadOutcome {
    match serde_json::to_writer(json, form) {
        Ok(()) => ReadOutcome::Written,
        Err(_) => ReadOutcome::Unserializable,
    }
}

/// What a field says that cannot be read.
#[doc(hidden)]
pub const UNREADABLE: ReadOutcome = ReadOutcome::Unreadable;
