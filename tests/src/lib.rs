//! Servers and databases for tests.
//!
//! `scripts/test` starts one PostgreSQL and one Redis for the whole run and names them in
//! `AUDIT_TEST_POSTGRES_URL` and `AUDIT_TEST_REDIS_URL`. Where these are not set, as with a plain
//! `cargo test`, each test process starts its own.

mod guard;
mod postgres;
mod redis;
mod server;

pub use postgres::{PgPool, PostgresServer, TestDatabase, pg_pool};
pub use redis::{RedisServer, TestRedis};
pub use server::wait_until;
