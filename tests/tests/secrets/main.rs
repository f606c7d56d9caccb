//! A secret never leaves: marked secrets are written in every way, and looked for in every place.
#![allow(
    clippy::duplicate_mod,
    reason = "what holds for both backends is written once and compiled for each"
)]

mod on_postgres;
mod on_sqlite;
mod places;
mod schema;
mod traces;
mod vault;
