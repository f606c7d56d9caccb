//! Delivery modes: what becomes of a record when the database, the journal or the process fails.

mod on_postgres;
mod on_sqlite;
mod prepared;
mod support;
