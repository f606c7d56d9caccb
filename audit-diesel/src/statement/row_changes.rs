//! What changed in a row, field by field. Values are compared as the database has them, and only
//! those that differ are read by the types of the model: what a type cannot read, or cannot tell from
//! another value, hides neither a change nor the rest of the row.

use std::marker::PhantomData;

use audit_core::{ChangeKind, ChangesWriter, IdWriter};

use super::image::{RowImage, Written, is_same};
use crate::model::{Decided, RecordedField, Shown, StoredValues};

/// What happened to one row.
#[derive(Debug)]
pub(super) enum RowChange<O, N> {
    Insert(N),
    Update {
        old: O,
        new: N,
    },
    Delete(O),
    /// An update of which nobody knows what the row was before.
    #[cfg_attr(
        not(feature = "sqlite"),
        expect(dead_code, reason = "PostgreSQL returns both rows of an update")
    )]
    Unpaired(N),
}

/// Shows the fields of a model to a visitor.
pub(super) type Fields<'f, R> = &'f dyn Fn(&mut dyn FnMut(&RecordedField<R>));

/// A change, and the fields of the model that says what is recorded of it.
pub(super) struct FieldChanges<'f, DB, R, O, N> {
    fields: Fields<'f, R>,
    old: Option<&'f O>,
    new: Option<&'f N>,
    backend: PhantomData<DB>,
}

impl<O, N> RowChange<O, N> {
    pub(super) fn kind(&self) -> ChangeKind {
        match self {
            Self::Insert(_) => ChangeKind::Insert,
            Self::Update { .. } | Self::Unpaired(_) => ChangeKind::Update,
            Self::Delete(_) => ChangeKind::Delete,
        }
    }

    pub(super) fn of<'f, DB, R>(&'f self, fields: Fields<'f, R>) -> FieldChanges<'f, DB, R, O, N> {
        let (old, new) = match self {
            Self::Insert(new) | Self::Unpaired(new) => (None, Some(new)),
            Self::Update { old, new } => (Some(old), Some(new)),
            Self::Delete(old) => (Some(old), None),
        };
        FieldChanges {
            fields,
            old,
            new,
            backend: PhantomData,
        }
    }
}

impl<DB, R, O, N> FieldChanges<'_, DB, R, O, N>
where
    DB: StoredValues,
    O: RowImage<DB, R>,
    N: RowImage<DB, R>,
{
    /// Writes each field that changed; returns how many of them hold a value that cannot be read.
    pub(super) fn write(&self, out: &mut ChangesWriter) -> usize {
        let mut unreadable = 0;
        self.each_field(&mut |field, at| {
            if field.decided == Decided::Skipped || self.is_unchanged(at) {
            } else if field.decided == Decided::Redacted {
                out.redacted_changed(field.name);
            } else {
                let touch = field.decided == Decided::Touch;
                out.changed(field.name, touch, |json| {
                    unreadable += usize::from(self.write_field(field, at, json));
                });
            }
        });
        unreadable
    }

    /// The row's key as text: what it was before the change, so that a row's history can be followed
    /// through a change of its key. None where no part of it is known.
    pub(super) fn resource_id(&self) -> Option<String> {
        let old = self.old.map(|row| self.key_of(row));
        if let Some(old) = old.as_ref().filter(|key| key.is_complete()) {
            return Some(old.id());
        }
        let new = self.new.map(|row| self.key_of(row));
        let complete = new.as_ref().filter(|key| key.is_complete());
        let known = || old.iter().chain(&new).find(|key| key.is_known());
        complete.or_else(known).map(Key::id)
    }

    fn each_field(&self, visit: &mut dyn FnMut(&RecordedField<R>, usize)) {
        let mut at = 0;
        (self.fields)(&mut |field| {
            visit(field, at);
            at += 1;
        });
    }

    fn is_unchanged(&self, at: usize) -> bool {
        match (self.old, self.new) {
            (Some(old), Some(new)) => is_same::<DB, R, O, N>(old, new, at),
            _ => false,
        }
    }

    /// Writes what a field was and is, and says whether it holds a value that cannot be read.
    fn write_field(&self, field: &RecordedField<R>, at: usize, json: &mut Vec<u8>) -> bool {
        let start = json.len();
        json.push(b'{');
        let old = self
            .old
            .map(|row| write_side(row, "\"old\":", field, at, json));
        let new = self
            .new
            .map(|row| write_side(row, "\"new\":", field, at, json));
        let is = |side: &Option<Side>, written| side.as_ref().is_some_and(|s| s.written == written);
        if is(&old, Written::Unserializable) || is(&new, Written::Unserializable) {
            json.truncate(start);
            json.extend_from_slice(ChangesWriter::UNSERIALIZABLE);
            return false;
        }
        if let (Some(old), Some(new)) = (&old, &new)
            && old.written == Written::Value
            && new.written == Written::Value
            && json[old.value.clone()] == json[new.value.clone()]
        {
            let form = json[old.value.clone()].to_vec();
            self.write_indistinct(field, &form, at, start, json);
        }
        let names = [("\"old\"", &old), ("\"new\"", &new)];
        let unreadable = names.map(|(name, side)| {
            (is(side, Written::Text) || is(side, Written::Nothing)).then_some(name)
        });
        write_unreadable(unreadable.into_iter().flatten(), json);
        json.push(b'}');
        unreadable.iter().any(Option::is_some)
    }

    /// The database has other values than before, and the field's type makes the same `form` of
    /// both: what the database has is written where that is the form in more digits.
    fn write_indistinct(
        &self,
        field: &RecordedField<R>,
        form: &[u8],
        at: usize,
        start: usize,
        json: &mut Vec<u8>,
    ) {
        json.truncate(start);
        if field.shown() != Shown::AsFormed && self.write_exactly(form, at, json) {
            return;
        }
        json.truncate(start);
        for part in [
            b"{\"old\":",
            form,
            b",\"new\":",
            form,
            b",\"indistinct\":true",
        ] {
            json.extend_from_slice(part);
        }
    }

    /// Writes what the database has on both sides; false where that is not the form in more digits,
    /// or the same.
    fn write_exactly(&self, form: &[u8], at: usize, json: &mut Vec<u8>) -> bool {
        json.extend_from_slice(b"{\"old\":");
        let old_at = json.len();
        if !self
            .old
            .is_some_and(|row| write_exactly(row, form, at, json))
        {
            return false;
        }
        let old = old_at..json.len();
        json.extend_from_slice(b",\"new\":");
        let new_at = json.len();
        self.new
            .is_some_and(|row| write_exactly(row, form, at, json))
            && json[new_at..] != json[old]
    }

    fn key_of<I: RowImage<DB, R>>(&self, row: &I) -> Key {
        let mut parts = Vec::new();
        self.each_field(&mut |field, at| {
            let Some(place) = field.key else { return };
            let mut json = Vec::new();
            let written = row.write(field, at, &mut json);
            let is_known = matches!(written, Written::Value | Written::Text) && json != b"null";
            parts.push((place, is_known.then_some(json)));
        });
        parts.sort_unstable_by_key(|(place, _)| *place);
        Key(parts)
    }
}

/// What was written of one side of a field.
struct Side {
    written: Written,
    value: std::ops::Range<usize>,
}

fn write_side<DB, R, I>(
    row: &I,
    name: &str,
    field: &RecordedField<R>,
    at: usize,
    json: &mut Vec<u8>,
) -> Side
where
    DB: StoredValues,
    I: RowImage<DB, R>,
{
    let start = json.len();
    write_comma(json);
    json.extend_from_slice(name.as_bytes());
    let value_at = json.len();
    let written = row.write(field, at, json);
    if written == Written::Nothing {
        json.truncate(start);
    }
    Side {
        written,
        value: value_at..json.len(),
    }
}

fn write_exactly<DB, R, I>(row: &I, form: &[u8], at: usize, json: &mut Vec<u8>) -> bool
where
    DB: StoredValues,
    I: RowImage<DB, R>,
{
    row.with_stored(at, |stored| {
        stored.is_some_and(|stored| DB::write_exactly(stored, form, json))
    })
}

/// Names the sides that cannot be read.
fn write_unreadable<'n>(names: impl Iterator<Item = &'n str>, json: &mut Vec<u8>) {
    let names: Vec<_> = names.collect();
    if names.is_empty() {
        return;
    }
    write_comma(json);
    json.extend_from_slice(b"\"unreadable\":[");
    json.extend_from_slice(names.join(",").as_bytes());
    json.push(b']');
}

fn write_comma(json: &mut Vec<u8>) {
    if json.last() != Some(&b'{') {
        json.push(b',');
    }
}

/// The parts of a key by their place, as JSON where they are known.
struct Key(Vec<(usize, Option<Vec<u8>>)>);

impl Key {
    fn is_complete(&self) -> bool {
        self.0.iter().all(|(_, part)| part.is_some())
    }

    fn is_known(&self) -> bool {
        self.0.iter().any(|(_, part)| part.is_some())
    }

    fn id(&self) -> String {
        let parts = self.0.iter().map(|(_, part)| part.as_deref());
        parts
            .fold(IdWriter::new(), |id, part| {
                id.part_of_json(part.unwrap_or(b"null"))
            })
            .finish()
    }
}
