//! What can be told of a value of the database without a type of Rust.

use diesel::backend::Backend;
use diesel::row::Row;

use super::Shown;

/// What a backend's values are before a type of Rust has read them.
pub trait StoredValues: Backend<QueryBuilder: Default> + 'static {
    /// A value that is not NULL.
    type Stored<'v>;

    /// Shows the value of a row's column to `then`.
    fn with_stored<'a, R: Row<'a, Self>, T>(
        row: &R,
        at: usize,
        then: impl FnOnce(Option<&Self::Stored<'_>>) -> T,
    ) -> T;

    /// Whether the database has stored the same for both.
    fn is_same(one: &Self::Stored<'_>, other: &Self::Stored<'_>) -> bool;

    /// Whether the JSON that a type of numbers has made of a value says what the database has.
    fn is_faithful(stored: &Self::Stored<'_>, json: &[u8]) -> bool;

    /// Writes the database's own text of a value as JSON, and says whether it has one.
    fn write_text(stored: &Self::Stored<'_>, shown: Shown, json: &mut Vec<u8>) -> bool;

    /// Writes what the database has where that is the value `form` (JSON) in more digits, and says
    /// whether it is.
    fn write_exactly(stored: &Self::Stored<'_>, form: &[u8], json: &mut Vec<u8>) -> bool;
}
