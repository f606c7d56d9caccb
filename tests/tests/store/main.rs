//! The tables: how they come to be, what is in them, and how they are asked.

#![expect(
    clippy::duplicate_mod,
    reason = "what holds on both backends is written once"
)]

mod indexes;
mod on_postgres;
mod on_sqlite;
mod roles;
