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
use std::process::ExitCode;
use std::time::Duration;

use audit_diesel::Auditor;

use crate::models::SCHEMA;

/// r2d2 waits for 30 s for a database that is away, unless told otherwise.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(2);

fn main() -> ExitCode {
    // `fn main() -> Result<…>` would print the error's `Debug`, which is not for people.
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {}", error.to_string().trim_end());
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), Box<dyn Error>> {
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
                .connection_timeout(CONNECTION_TIMEOUT)
                .connection_customizer(auditor.customizer().after(Box::new(on_sqlite::Pragmas)))
                .build(diesel::r2d2::ConnectionManager::new(database))?;
            on_sqlite::app::run(pool, auditor)
        }
        #[cfg(feature = "servers")]
        ["--postgres", database, "--redis", redis] => {
            on_postgres::check_url(database)?;
            let auditor = Auditor::builder()
                .schema(&SCHEMA)
                .redis(*redis)
                .journal(journal)
                .build()?;
            // An application goes on without Redis; this story ends with the trail.
            auditor.queue().len()?;
            let pool = diesel::r2d2::Pool::builder()
                .connection_timeout(CONNECTION_TIMEOUT)
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
