//! Audited statements, on both backends: what Diesel does is done, and what changed is recorded.

mod models;
mod on_postgres;
mod on_sqlite;
