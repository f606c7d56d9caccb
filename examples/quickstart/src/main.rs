//! A small application with an audit trail: `app.rs` and `models.rs` are what to copy.
//!
//! `cargo run -p quickstart` needs Rust and a C compiler only: SQLite is the database, and a
//! journal the queue. `cargo run -p quickstart --features servers -- --postgres URL --redis URL`
//! tells the same story on PostgreSQL and Redis.

mod models;
mod print;
mod schema;

use std::error::Error;

use audit_diesel::Auditor;

/// The application on SQLite.
mod on_sqlite {
    use diesel::connection::SimpleConnection;
    use diesel::r2d2::{self, ConnectionManager, CustomizeConnection};
    use diesel_migrations::{EmbeddedMigrations, embed_migrations};

    pub(crate) use audit_diesel::sqlite as trail;
    pub(crate) use diesel::SqliteConnection as Connection;

    pub(crate) type Pool = r2d2::Pool<ConnectionManager<Connection>>;
    pub(crate) const APP_MIGRATIONS: EmbeddedMigrations = embed_migrations!("migrations/sqlite");

    #[path = "app.rs"]
    pub(crate) mod app;

    /// Lets several connections write to one SQLite file in turn.
    #[derive(Debug)]
    pub(crate) struct Pragmas;

    impl CustomizeConnection<Connection, r2d2::Error> for Pragmas {
        fn on_acquire(&self, conn: &mut Connection) -> Result<(), r2d2::Error> {
            conn.batch_execute("PRAGMA busy_timeout = 5000; PRAGMA journal_mode = WAL;")
                .map_err(r2d2::Error::QueryError)
        }
    }
}

/// The application on PostgreSQL.
#[cfg(feature = "servers")]
mod on_postgres {
    use diesel::r2d2::{self, ConnectionManager};
    use diesel_migrations::{EmbeddedMigrations, embed_migrations};

    pub(crate) use audit_diesel::postgres as trail;
    pub(crate) use diesel::PgConnection as Connection;

    pub(crate) type Pool = r2d2::Pool<ConnectionManager<Connection>>;
    pub(crate) const APP_MIGRATIONS: EmbeddedMigrations = embed_migrations!("migrations/postgres");

    #[path = "app.rs"]
    pub(crate) mod app;
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let folder = tempfile::tempdir()?;
    let journal = folder.path().join("audit-journal.db");
    match arguments.as_slice() {
        [] => {
            let database = folder.path().join("app.db").display().to_string();
            let auditor = Auditor::builder().journal(journal).build()?;
            let pool = diesel::r2d2::Pool::builder()
                .connection_customizer(auditor.customizer().after(Box::new(on_sqlite::Pragmas)))
                .build(diesel::r2d2::ConnectionManager::new(database))?;
            on_sqlite::app::run(pool, auditor)
        }
        #[cfg(feature = "servers")]
        ["--postgres", database, "--redis", redis] => {
            let auditor = Auditor::builder().redis(*redis).journal(journal).build()?;
            let pool = diesel::r2d2::Pool::builder()
                .connection_customizer(auditor.customizer())
                .build(diesel::r2d2::ConnectionManager::new(*database))?;
            on_postgres::app::run(pool, auditor)
        }
        _ => Err("usage: cargo run -p quickstart [--features servers -- --postgres URL --redis URL]".into()),
    }
}
