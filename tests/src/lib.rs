//! Servers and databases for tests.
//!
//! `scripts/test` starts one PostgreSQL and one Redis for the whole run and names them in
//! `AUDIT_TEST_POSTGRES_URL` and `AUDIT_TEST_REDIS_URL`. Where these are not set, as with a plain
//! `cargo test`, each test process starts its own.

pub mod app;
mod certificates;
mod database;
pub mod foreign_schema;
mod guard;
mod hooked;
mod postgres;
mod proxy;
mod redis;
mod server;
mod small_disk;

pub use certificates::{Authority, Certificate};
pub use database::{PgPool, TestDatabase, TestRole, pg_pool};
pub use hooked::{Call, Hooked};
pub use postgres::{OnSmallDisk, PostgresServer};
pub use proxy::{Forgery, Network, Proxy};
pub use redis::{RedisServer, TestRedis};
pub use server::{LONG, flush_fails, send_signal, wait_until};
pub use small_disk::SmallDisk;

#[doc = include_str!("../../audit-derive/src/auditable.md")]
#[cfg(doctest)]
pub mod derive_documentation {}

#[doc = include_str!("../../README.md")]
#[cfg(doctest)]
pub mod readme {}
