//! Nobody's input keeps an action out of the trail, in any mode, on both backends.

#![allow(
    clippy::duplicate_mod,
    reason = "each backend includes the cases that hold for both"
)]

mod input;
mod on_postgres;
mod on_sqlite;
