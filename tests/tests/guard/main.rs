//! The guard and exempt blocks, on both backends.
#![allow(
    clippy::duplicate_mod,
    reason = "what holds for both backends is written once and compiled for each"
)]

mod corpus;
mod on_postgres;
mod on_sqlite;
mod texts;
