//! Events, which touch no table, on both backends.

mod on_postgres;
mod on_sqlite;
