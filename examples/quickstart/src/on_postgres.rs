//! The application on PostgreSQL.

use diesel::r2d2::{self, ConnectionManager};
use diesel_migrations::{EmbeddedMigrations, embed_migrations};

pub(crate) use audit_diesel::postgres as trail;
pub(crate) use diesel::PgConnection as Conn;

pub(crate) type Pool = r2d2::Pool<ConnectionManager<Conn>>;
pub(crate) const APP_MIGRATIONS: EmbeddedMigrations = embed_migrations!("migrations/postgres");

#[path = "app.rs"]
pub(crate) mod app;

/// Refuses what is no URL, without showing it: PostgreSQL's library would print all of it, with the
/// password.
pub(crate) fn check_url(url: &str) -> Result<(), &'static str> {
    match url.starts_with("postgres://") || url.starts_with("postgresql://") {
        true => Ok(()),
        false => Err("what follows --postgres is no URL: it begins with postgres://"),
    }
}
