//! Audited writes of every kind of relation, beside plain Diesel: same rows, same count, same error, or
//! refused before anything is written.

mod changed_later;
mod changed_settings;
mod changed_tables;
mod changed_types;
mod on_postgres;
mod on_sqlite;
mod other_writers;
mod partitions;
mod promised;
mod wrong_suspicions;
