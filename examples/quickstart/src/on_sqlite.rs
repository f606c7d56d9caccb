//! The application on SQLite.

use diesel::connection::SimpleConnection;
use diesel::r2d2::{self, ConnectionManager, CustomizeConnection};
use diesel_migrations::{EmbeddedMigrations, embed_migrations};

pub(crate) use audit_diesel::sqlite as trail;
pub(crate) use diesel::SqliteConnection as Conn;

pub(crate) type Pool = r2d2::Pool<ConnectionManager<Conn>>;
pub(crate) const APP_MIGRATIONS: EmbeddedMigrations = embed_migrations!("migrations/sqlite");

#[path = "app.rs"]
pub(crate) mod app;

/// Lets several connections write to one SQLite file in turn.
#[derive(Debug)]
pub(crate) struct Pragmas;

impl CustomizeConnection<Conn, r2d2::Error> for Pragmas {
    fn on_acquire(&self, conn: &mut Conn) -> Result<(), r2d2::Error> {
        conn.batch_execute("PRAGMA busy_timeout = 5000; PRAGMA journal_mode = WAL;")
            .map_err(r2d2::Error::QueryError)
    }
}
