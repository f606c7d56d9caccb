//! Rows that outlive the statement which returned them.

use std::marker::PhantomData;
use std::ops::Range;

use diesel::deserialize::{FromSqlRow, QueryableByName, Result};
use diesel::row::{NamedRow, Row};
use diesel::sqlite::Sqlite;

use super::stored::Stored;
use crate::model::{AuditedRow, Decided, RecordedField};
use crate::statement::image::{ReturnedRow, RowImage, Written};

/// Room for the JSON of a usual value.
const USUAL_BYTES: usize = 16;

/// A row as it was when it was read: what the database had in each column, and the JSON of it.
#[derive(Debug)]
pub(in crate::statement) struct KeptRow {
    stored: Vec<Option<Stored<'static>>>,
    written: Vec<(Written, Range<usize>)>,
    json: Vec<u8>,
    /// The key as the database has it, which is NULL in none of its parts. Rows are found by it.
    pub(super) key: Option<Vec<u8>>,
}

impl KeptRow {
    /// Keeps the columns of the model `M`, with which a row begins.
    pub(in crate::statement) fn of<'a, M, R>(row: &R) -> Self
    where
        M: AuditedRow<Sqlite>,
        R: Row<'a, Sqlite>,
    {
        let columns = row.field_count();
        let row = ReturnedRow { row, first: 0 };
        let mut kept = Self {
            stored: Vec::with_capacity(columns),
            written: Vec::with_capacity(columns),
            json: Vec::with_capacity(columns * USUAL_BYTES),
            key: key_of::<M, _>(&row),
        };
        M::visit::<R>(&mut |field| {
            let at = kept.stored.len();
            kept.stored
                .push(row.with_stored(at, |stored| stored.cloned().map(Stored::into_owned)));
            let start = kept.json.len();
            let written = match field.decided {
                Decided::Redacted => Written::Nothing,
                _ => row.write(field, at, &mut kept.json),
            };
            kept.written.push((written, start..kept.json.len()));
        });
        kept
    }
}

impl<R> RowImage<Sqlite, R> for KeptRow {
    fn with_stored<T>(&self, at: usize, then: impl FnOnce(Option<&Stored<'_>>) -> T) -> T {
        then(self.stored.get(at).and_then(Option::as_ref))
    }

    fn write(&self, _: &RecordedField<R>, at: usize, json: &mut Vec<u8>) -> Written {
        let Some((written, place)) = self.written.get(at) else {
            return Written::Nothing;
        };
        json.extend_from_slice(&self.json[place.clone()]);
        *written
    }
}

/// The key of a row as the database has it. None where a part of it is NULL: such a key tells no
/// rows apart.
pub(super) fn key_of<'a, M, R>(row: &ReturnedRow<'_, R>) -> Option<Vec<u8>>
where
    M: AuditedRow<Sqlite>,
    R: Row<'a, Sqlite>,
{
    let (mut key, mut at) = (Some(Vec::new()), 0);
    M::visit::<R>(&mut |field| {
        if field.key.is_some() {
            key = row.with_stored(at, |stored| {
                let mut key = key.take()?;
                stored?.write_key(&mut key);
                Some(key)
            });
        }
        at += 1;
    });
    key
}

/// A row of a model `M`, and what the statement returned behind it, of the SQL type `ST`.
#[derive(Debug)]
pub(in crate::statement) struct KeptAnd<M, X, ST> {
    pub(in crate::statement) row: KeptRow,
    pub(in crate::statement) extra: X,
    model: PhantomData<fn() -> (M, ST)>,
}

/// Not by any name: this is how Diesel lets a type see a whole row.
impl<M, X, ST> QueryableByName<Sqlite> for KeptAnd<M, X, ST>
where
    M: AuditedRow<Sqlite>,
    X: FromSqlRow<ST, Sqlite>,
{
    fn build<'a>(row: &impl NamedRow<'a, Sqlite>) -> Result<Self> {
        let kept = KeptRow::of::<M, _>(row);
        let rest = row.partial_row(kept.stored.len()..row.field_count());
        Ok(Self {
            extra: X::build_from_row(&rest)?,
            row: kept,
            model: PhantomData,
        })
    }
}
