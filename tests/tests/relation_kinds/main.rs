//! Audited writes of every kind of relation, beside plain Diesel: same rows, same count, same error, or
//! refused before anything is written.

mod changed_tables;
mod changed_types;
mod on_postgres;
mod on_sqlite;
mod partitions;
mod promised;
