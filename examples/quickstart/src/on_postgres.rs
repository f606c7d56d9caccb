//! The application on PostgreSQL.

use diesel::r2d2::{self, ConnectionManager};
use diesel_migrations::{EmbeddedMigrations, embed_migrations};

pub(crate) use audit_diesel::postgres as trail;
pub(crate) use diesel::PgConnection as Conn;

pub(crate) type Pool = r2d2::Pool<ConnectionManager<Conn>>;
pub(crate) const APP_MIGRATIONS: EmbeddedMigrations = embed_migrations!("migrations/postgres");

#[path = "app.rs"]
pub(crate) mod app;
