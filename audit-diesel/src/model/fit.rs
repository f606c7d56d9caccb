//! Whether a field's type can be loaded from its column: asked once, where the model is derived, so
//! that the field is named, and not in each statement.

use std::marker::PhantomData;

use diesel::backend::Backend;
use diesel::deserialize::FromSqlRow;
use diesel::row::Row;

/// Says by its constants whether a `T` is loaded from a column of the SQL type `ST`. Those of
/// [`FitsNowhere`] are found where there are none of its own.
#[derive(Debug)]
pub struct Probe<T, ST>(PhantomData<fn() -> (T, ST)>);

#[cfg(feature = "postgres")]
impl<T: FromSqlRow<ST, diesel::pg::Pg>, ST> Probe<T, ST> {
    /// It is, on PostgreSQL.
    pub const ON_POSTGRES: bool = true;
}

#[cfg(feature = "sqlite")]
impl<T: FromSqlRow<ST, diesel::sqlite::Sqlite>, ST> Probe<T, ST> {
    /// It is, on SQLite.
    pub const ON_SQLITE: bool = true;
}

/// What is said of a type that is loaded from a column on no backend. Without any backend nothing can
/// be said, and so nothing is refused.
pub trait FitsNowhere {
    /// It is not, on PostgreSQL.
    const ON_POSTGRES: bool = cfg!(not(any(feature = "postgres", feature = "sqlite")));
    /// It is not, on SQLite.
    const ON_SQLITE: bool = false;
}

impl<T: ?Sized> FitsNowhere for T {}

/// The type of a field whose column has the SQL type `ST`.
#[diagnostic::on_unimplemented(
    message = "a `{Self}` cannot be loaded from this field's column, whose SQL type is `{ST}`",
    label = "does not fit its column",
    note = "give the field the type that Diesel's documentation of that SQL type names, and an `Option` \
            where it is `Nullable`; for a type of your own, implement or derive `FromSql` and \
            `FromSqlRow`, or write `#[diesel(deserialize_as = …)]` on the field"
)]
pub trait FitsColumn<ST, const FITS: bool> {}

#[diagnostic::do_not_recommend]
impl<T, ST> FitsColumn<ST, true> for T {}

/// Compiles where the type fits.
pub const fn fits_column<T: FitsColumn<ST, FITS>, ST, const FITS: bool>() {}

/// Reads a column of the SQL type `ST`. A type that fits on no backend reads nothing, and is refused
/// once, by [`fits_column`].
pub trait ReadAs<ST, DB: Backend, const FITS: bool>: Sized {
    /// The value at this place of the row, if it can be read.
    fn read_as<'a, R: Row<'a, DB>>(row: &R, at: usize) -> Option<Self>;
}

impl<T: FromSqlRow<ST, DB>, ST, DB: Backend> ReadAs<ST, DB, true> for T {
    fn read_as<'a, R: Row<'a, DB>>(row: &R, at: usize) -> Option<Self> {
        T::build_from_row(&row.partial_row(at..at + 1)).ok()
    }
}

impl<T, ST, DB: Backend> ReadAs<ST, DB, false> for T {
    fn read_as<'a, R: Row<'a, DB>>(_: &R, _: usize) -> Option<Self> {
        None
    }
}

/// Loads the column at this place of the row.
pub fn load<'a, ST, T, DB, R, const FITS: bool>(row: &R, at: usize) -> Option<T>
where
    DB: Backend,
    R: Row<'a, DB>,
    T: ReadAs<ST, DB, FITS>,
{
    T::read_as(row, at)
}

/// Loads the column at this place of the row as `X`, and makes a `T` of it: Diesel's
/// `deserialize_as`.
pub fn load_as<'a, ST, X, T, DB, R, const FITS: bool>(row: &R, at: usize) -> Option<T>
where
    DB: Backend,
    R: Row<'a, DB>,
    X: ReadAs<ST, DB, FITS> + TryInto<T>,
{
    X::read_as(row, at)?.try_into().ok()
}
