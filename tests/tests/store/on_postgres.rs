use audit_tests::app::postgres::*;

/// A database without any table.
pub fn empty() -> (Conn, audit_tests::TestDatabase) {
    let database = audit_tests::TestDatabase::new();
    (database.connection(), database)
}

pub const NAME: &str = "postgres";

#[path = "migrations.rs"]
mod migrations;
#[path = "questions.rs"]
mod questions;
