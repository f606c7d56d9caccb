//! How a model's fields are read from a row that a statement returned: each on its own, so that one
//! that cannot be read hides none of the others.

use std::any::TypeId;

use diesel::backend::Backend;
use diesel::deserialize::FromSqlRow;
use diesel::row::Row;
use serde::Serialize;
use serde_json::Value;

use super::Decided;

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
    pub(crate) shown: Shown,
    read: ReadField<R>,
}

/// Reads the column at this place of the row, and writes the value as JSON.
type ReadField<R> = fn(&R, usize, &mut Vec<u8>) -> ReadOutcome;

/// How a value is shown where the field's type cannot read it, or cannot tell it from another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shown {
    /// In the form that the author has chosen, and in no other: it may be there to hide something.
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
    pub fn new<T: 'static>(column: &'static str, decided: Decided, read: ReadField<R>) -> Self {
        Self {
            column,
            name: column,
            decided,
            key: None,
            shown: Shown::of::<T>(),
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
            shown: Shown::AsFormed,
            read: |_, _, _| ReadOutcome::Unreadable,
        }
    }

    /// It is recorded in another form of its value.
    #[doc(hidden)]
    #[must_use]
    pub fn formed(self) -> Self {
        Self {
            shown: Shown::AsFormed,
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
    fn of<T: 'static>() -> Self {
        let ty = TypeId::of::<T>();
        let is_one_of = |types: &[TypeId]| types.contains(&ty);
        if is_one_of(&[TypeId::of::<Value>(), TypeId::of::<Option<Value>>()]) {
            Self::Json
        } else if is_one_of(&[
            TypeId::of::<i16>(),
            TypeId::of::<Option<i16>>(),
            TypeId::of::<i32>(),
            TypeId::of::<Option<i32>>(),
            TypeId::of::<i64>(),
            TypeId::of::<Option<i64>>(),
            TypeId::of::<f32>(),
            TypeId::of::<Option<f32>>(),
            TypeId::of::<f64>(),
            TypeId::of::<Option<f64>>(),
        ]) {
            Self::Number
        } else {
            Self::Stored
        }
    }
}

/// Loads the column at this place of the row.
#[doc(hidden)]
pub fn load<'a, ST, T, DB, R>(row: &R, at: usize) -> Option<T>
where
    DB: Backend,
    R: Row<'a, DB>,
    T: FromSqlRow<ST, DB>,
{
    T::build_from_row(&row.partial_row(at..at + 1)).ok()
}

/// Writes a form of a value as JSON.
#[doc(hidden)]
pub fn write<T: Serialize + ?Sized>(json: &mut Vec<u8>, form: &T) -> ReadOutcome {
    match serde_json::to_writer(json, form) {
        Ok(()) => ReadOutcome::Written,
        Err(_) => ReadOutcome::Unserializable,
    }
}

/// Loads the column at this place of the row as `X`, and makes a `T` of it: Diesel's
/// `deserialize_as`.
#[doc(hidden)]
pub fn load_as<'a, ST, X, T, DB, R>(row: &R, at: usize) -> Option<T>
where
    DB: Backend,
    R: Row<'a, DB>,
    X: FromSqlRow<ST, DB> + TryInto<T>,
{
    load::<ST, X, DB, R>(row, at)?.try_into().ok()
}

/// What a field says that cannot be read.
#[doc(hidden)]
pub const UNREADABLE: ReadOutcome = ReadOutcome::Unreadable;
