//! A wrong URL, or one that nobody answers at, is said in plain words, soon, and without passwords.

#![cfg(feature = "servers")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by it")]

use std::process::Command;
use std::time::{Duration, Instant};

use audit_tests::{RedisServer, TestDatabase};

/// What the quickstart says is wrong.
fn refused(postgres: &str, redis: &str) -> String {
    let started = Instant::now();
    let output = Command::new(env!("CARGO_BIN_EXE_quickstart"))
        .args(["--postgres", postgres, "--redis", redis])
        .output()
        .unwrap();
    let took = started.elapsed();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success(), "{said}");
    // It takes 2 s on a machine that has nothing else to do.
    assert!(took < Duration::from_secs(10), "{took:?}: {said}");
    assert!(!said.contains("s3cret"), "{said}");
    let error = said.lines().find(|line| line.starts_with("error: "));
    let error = error.unwrap_or_else(|| panic!("{said}"));
    assert!(!error.contains("Error("), "{said}");
    error.to_owned()
}

/// A port that nobody listens on.
const NOBODY: &str = "127.0.0.1:1";

#[test]
fn a_database_that_is_away_is_said_within_seconds() {
    let redis = RedisServer::start(&[]);
    let error = refused(&format!("postgres://ada:s3cret@{NOBODY}/app"), &redis.url());
    assert!(error.contains("Connection refused"), "{error}");
}

#[test]
fn a_redis_that_is_away_is_said_within_seconds() {
    let database = TestDatabase::new();
    let error = refused(&database.url(), &format!("redis://:s3cret@{NOBODY}/"));
    assert!(
        error.contains("the Redis list audit:queue at 127.0.0.1:1"),
        "{error}"
    );
    assert!(error.contains("unavailable"), "{error}");
}

#[test]
fn what_is_no_url_is_said_at_once() {
    let (database, redis) = (TestDatabase::new(), RedisServer::start(&[]));
    let error = refused("ada:s3cret@localhost/app", &redis.url());
    assert!(error.contains("begins with postgres://"), "{error}");
    let error = refused(&database.url(), "http://:s3cret@localhost/");
    assert!(error.contains("redis://"), "{error}");
}
