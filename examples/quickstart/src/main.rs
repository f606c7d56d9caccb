//! A small application with an audit trail: `app.rs` and `models.rs` are what to copy.
//!
//! `cargo run -p quickstart` needs Rust and a C compiler only: SQLite is the database, and a
//! journal the queue. `cargo run -p quickstart --features servers -- --postgres URL --redis URL`
//! tells the same story on PostgreSQL and Redis.

#![allow(
    clippy::duplicate_mod,
    reason = "the same application is compiled for each database"
)]

mod models;
#[cfg(feature = "servers")]
mod on_postgres;
mod on_sqlite;
mod print;
mod schema;

use std::error::Error;

use audit_diesel::Auditor;

use crate::models::SCHEMA;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let folder = tempfile::tempdir()?;
    let journal = folder.path().join("audit-journal.db");
    match arguments.as_slice() {
        [] => {
            let database = folder.path().join("app.db").display().to_string();
            let auditor = Auditor::builder()
                .schema(&SCHEMA)
                .journal(journal)
                .build()?;
            let pool = diesel::r2d2::Pool::builder()
                .connection_customizer(auditor.customizer().after(Box::new(on_sqlite::Pragmas)))
                .build(diesel::r2d2::ConnectionManager::new(database))?;
            on_sqlite::app::run(pool, auditor)
        }
        #[cfg(feature = "servers")]
        ["--postgres", database, "--redis", redis] => {
            let auditor = Auditor::builder()
                .schema(&SCHEMA)
                .redis(*redis)
                .journal(journal)
                .build()?;
            let pool = diesel::r2d2::Pool::builder()
                .connection_customizer(auditor.customizer())
                .build(diesel::r2d2::ConnectionManager::new(*database))?;
            on_postgres::app::run(pool, auditor)
        }
        _ => Err(
            "usage: cargo run -p quickstart [--features servers -- --postgres URL --redis URL]"
                .into(),
        ),
    }
}
