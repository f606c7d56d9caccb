//! A row as it was, or as it is: what an audited statement compares and writes.

use std::panic::{AssertUnwindSafe, catch_unwind};

use diesel::row::Row;

use crate::model::{ReadOutcome, RecordedField, Shown, StoredValues};

/// A row as it was, or as it is.
pub(super) trait RowImage<DB: StoredValues, R> {
    /// Shows the value of a column, as the database has it, to `then`.
    fn with_stored<T>(&self, at: usize, then: impl FnOnce(Option<&DB::Stored<'_>>) -> T) -> T;

    /// Writes the value of a column as JSON.
    fn write(&self, field: &RecordedField<R>, at: usize, json: &mut Vec<u8>) -> Written;
}

/// A row that a statement has returned, whose columns of the model begin at `first`.
#[derive(Debug, Clone, Copy)]
pub(super) struct ReturnedRow<'r, R> {
    pub(super) row: &'r R,
    pub(super) first: usize,
}

impl<'a, DB, R> RowImage<DB, R> for ReturnedRow<'_, R>
where
    DB: StoredValues,
    R: Row<'a, DB>,
{
    fn with_stored<T>(&self, at: usize, then: impl FnOnce(Option<&DB::Stored<'_>>) -> T) -> T {
        DB::with_stored(self.row, self.first + at, then)
    }

    fn write(&self, field: &RecordedField<R>, at: usize, json: &mut Vec<u8>) -> Written {
        let start = json.len();
        let outcome = self.read(field, at, json);
        match outcome {
            Some(ReadOutcome::Unserializable) => return Written::Unserializable,
            Some(ReadOutcome::Written) if field.shown() != Shown::Number => return Written::Value,
            _ => {}
        }
        self.with_stored(at, |stored| match (stored, outcome) {
            (None, Some(ReadOutcome::Written)) => Written::Value,
            // The type has no NULL, and the database has.
            (None, _) => {
                json.extend_from_slice(b"null");
                Written::Value
            }
            (Some(stored), Some(ReadOutcome::Written)) => check_number::<DB>(stored, start, json),
            // Nothing is shown of a value whose type refuses to be looked at.
            (Some(_), None) => Written::Nothing,
            (Some(_), _) if field.shown() == Shown::AsFormed => Written::Nothing,
            (Some(stored), _) => match DB::write_text(stored, field.shown(), json) {
                true => Written::Text,
                false => Written::Nothing,
            },
        })
    }
}

impl<R> ReturnedRow<'_, R> {
    /// Writes a value as the field's type reads it. The types are the user's, and the change is made
    /// by now: a panic of theirs, which is None, must not take its record away.
    fn read(&self, field: &RecordedField<R>, at: usize, json: &mut Vec<u8>) -> Option<ReadOutcome> {
        let start = json.len();
        let read = || field.read(self.row, self.first + at, json);
        let outcome = catch_unwind(AssertUnwindSafe(read)).ok();
        if outcome.is_none() {
            json.truncate(start);
        }
        outcome
    }
}

/// What is written of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Written {
    /// The value.
    Value,
    /// The database's text of a value that the field's type cannot read.
    Text,
    /// Nothing: the type cannot read it, and there is no text of it.
    Nothing,
    /// Nothing: the type cannot serialise it.
    Unserializable,
}

/// Leaves the number that was written from `start` on where that is what the database has, which
/// SQLite's conversions and JSON's lack of NaN do not promise.
fn check_number<DB: StoredValues>(
    stored: &DB::Stored<'_>,
    start: usize,
    json: &mut Vec<u8>,
) -> Written {
    if DB::is_faithful(stored, &json[start..]) {
        return Written::Value;
    }
    let has_no_json = &json[start..] == b"null";
    json.truncate(start);
    match DB::write_text(stored, Shown::Number, json) {
        true if has_no_json => Written::Value,
        true => Written::Text,
        false => Written::Nothing,
    }
}

/// Whether a column holds the same in both.
pub(super) fn is_same<DB, R, O, N>(old: &O, new: &N, at: usize) -> bool
where
    DB: StoredValues,
    O: RowImage<DB, R>,
    N: RowImage<DB, R>,
{
    old.with_stored(at, |old| {
        new.with_stored(at, |new| match (old, new) {
            (Some(old), Some(new)) => DB::is_same(old, new),
            (None, None) => true,
            _ => false,
        })
    })
}
