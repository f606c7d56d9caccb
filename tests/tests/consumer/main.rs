//! The consumer: each record in the table once, whatever happens on the way.

#![expect(
    clippy::duplicate_mod,
    reason = "what holds on both backends is written once"
)]

mod bad_days;
mod beside_writers;
mod frozen;
mod full_disk;
mod locked;
mod on_postgres;
mod on_sqlite;
mod outages;
mod oversized;
mod poison;
mod put_off;
mod through_redis;
mod way;
