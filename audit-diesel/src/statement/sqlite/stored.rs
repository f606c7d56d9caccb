//! SQLite: values of whichever type they have, as a column takes any.

use std::borrow::Cow;

use diesel::row::{Field, Row};
use diesel::sqlite::{Sqlite, SqliteType, SqliteValue};

use crate::model::{Shown, StoredValues};
use crate::statement::json::{is_rounded, is_same_number, same_value, write_string, write_text};

/// A value that is not NULL.
#[derive(Debug, Clone)]
pub enum Stored<'v> {
    Integer(i64),
    Real(f64),
    /// SQLite does not promise that it is UTF-8.
    Text(Cow<'v, [u8]>),
    Blob(Cow<'v, [u8]>),
}

impl Stored<'_> {
    pub(super) fn into_owned(self) -> Stored<'static> {
        match self {
            Self::Integer(number) => Stored::Integer(number),
            Self::Real(number) => Stored::Real(number),
            Self::Text(bytes) => Stored::Text(Cow::Owned(bytes.into_owned())),
            Self::Blob(bytes) => Stored::Blob(Cow::Owned(bytes.into_owned())),
        }
    }

    /// Adds bytes that no other value has.
    pub(super) fn write_key(&self, key: &mut Vec<u8>) {
        let (kind, bytes) = match self {
            Self::Integer(number) => (1, &number.to_be_bytes()[..]),
            Self::Real(number) => (2, &number.to_bits().to_be_bytes()[..]),
            Self::Text(bytes) => (3, &bytes[..]),
            Self::Blob(bytes) => (4, &bytes[..]),
        };
        key.push(kind);
        key.extend_from_slice(&bytes.len().to_be_bytes());
        key.extend_from_slice(bytes);
    }
}

fn with_value<T>(
    value: &mut SqliteValue<'_, '_, '_>,
    then: impl FnOnce(Option<&Stored<'_>>) -> T,
) -> T {
    match value.value_type() {
        None => then(None),
        Some(SqliteType::Double | SqliteType::Float) => {
            then(Some(&Stored::Real(value.read_double())))
        }
        Some(SqliteType::Text) => {
            let text = value.read_text();
            if !text.contains(char::REPLACEMENT_CHARACTER) {
                return then(Some(&Stored::Text(Cow::Borrowed(text.as_bytes()))));
            }
            // What is no UTF-8 was read with a replacement in its place.
            then(Some(&Stored::Text(Cow::Borrowed(value.read_blob()))))
        }
        Some(SqliteType::Binary) => then(Some(&Stored::Blob(Cow::Borrowed(value.read_blob())))),
        Some(_) => then(Some(&Stored::Integer(value.read_long()))),
    }
}

impl StoredValues for Sqlite {
    type Stored<'v> = Stored<'v>;

    fn with_stored<'a, R: Row<'a, Self>, T>(
        row: &R,
        at: usize,
        then: impl FnOnce(Option<&Stored<'_>>) -> T,
    ) -> T {
        let field = Row::get(row, at);
        match field.as_ref().and_then(Field::value) {
            Some(mut value) => with_value(&mut value, then),
            None => then(None),
        }
    }

    fn is_same(one: &Stored<'_>, other: &Stored<'_>) -> bool {
        match (one, other) {
            (Stored::Integer(one), Stored::Integer(other)) => one == other,
            (Stored::Real(one), Stored::Real(other)) => one.to_bits() == other.to_bits(),
            (Stored::Text(one), Stored::Text(other)) => one == other,
            (Stored::Blob(one), Stored::Blob(other)) => one == other,
            _ => false,
        }
    }

    /// SQLite makes a number of whatever it has: of `abc` it makes 0, and of a long number its last
    /// bits.
    fn is_faithful(stored: &Stored<'_>, json: &[u8]) -> bool {
        let text = std::str::from_utf8(json).unwrap_or_default();
        match stored {
            Stored::Integer(number) => {
                text.parse() == Ok(*number) || text.parse() == Ok(*number as f64)
            }
            Stored::Real(number) => text
                .parse()
                .is_ok_and(|json: f64| is_rounded(*number, json)),
            Stored::Text(text) => text.trim_ascii() == json,
            Stored::Blob(_) => false,
        }
    }

    fn write_text(stored: &Stored<'_>, shown: Shown, json: &mut Vec<u8>) -> bool {
        match stored {
            Stored::Integer(number) => write_string(json, &number.to_string()),
            Stored::Real(number) if number.is_infinite() => {
                write_string(
                    json,
                    if *number > 0.0 {
                        "Infinity"
                    } else {
                        "-Infinity"
                    },
                );
            }
            Stored::Real(number) => write_string(json, &number.to_string()),
            Stored::Text(text) => return write_text(text, shown, json),
            Stored::Blob(_) => return false,
        }
        true
    }

    fn write_exactly(stored: &Stored<'_>, form: &[u8], json: &mut Vec<u8>) -> bool {
        match stored {
            Stored::Integer(number) if is_same_number(&number.to_string(), form) => {
                json.extend_from_slice(number.to_string().as_bytes());
            }
            Stored::Text(text) if !form.starts_with(b"\"") && same_value(text, form) => {
                json.extend_from_slice(text.trim_ascii());
            }
            _ => return false,
        }
        true
    }
}
