//! A record leaves if and only if the database kept the change, on both backends.

#![allow(
    clippy::duplicate_mod,
    reason = "each backend includes the cases that hold for both"
)]

mod failed_batches;
mod in_doubt;
mod on_postgres;
mod on_sqlite;
mod only_postgres;
mod only_sqlite;
mod support;
mod unproven;
mod without_answer;
