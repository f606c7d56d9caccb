//! Audited statements, on both backends: what Diesel does is done, and what changed is recorded.

#![allow(
    clippy::duplicate_mod,
    reason = "the cases are compiled once for each backend"
)]

mod models;
mod on_postgres;
mod on_sqlite;
