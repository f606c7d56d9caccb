//! Events, which touch no table, on both backends.

#![allow(
    clippy::duplicate_mod,
    reason = "each backend includes the cases that hold for both"
)]

mod on_postgres;
mod on_sqlite;
