use audit_tests::app::sqlite::*;

/// A database without any table.
pub fn empty() -> (Conn, ()) {
    use diesel::Connection;
    (Conn::establish(":memory:").unwrap(), ())
}

pub const NAME: &str = "sqlite";

#[path = "migrations.rs"]
mod migrations;
#[path = "questions.rs"]
mod questions;
