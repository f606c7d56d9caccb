//! Delivery modes: what becomes of a record when the database, the journal or the process fails.

#![allow(
    clippy::duplicate_mod,
    reason = "what holds on both backends is compiled once for each"
)]

mod on_postgres;
mod on_sqlite;
mod prepared;
mod support;
