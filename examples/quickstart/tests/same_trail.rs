//! The story leaves the same trail on SQLite with a journal as on PostgreSQL with Redis.

#![cfg(feature = "servers")]
#![allow(clippy::unwrap_used, reason = "a test fails by it")]

use std::process::Command;

use audit_tests::{RedisServer, TestDatabase};

/// What the quickstart prints, without times and without the lines that the table breaks text into.
fn trail(arguments: &[&str]) -> Vec<String> {
    let output = Command::new(env!("CARGO_BIN_EXE_quickstart"))
        .args(arguments)
        .output()
        .unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    let table = String::from_utf8(output.stdout).unwrap();
    let rows = table.lines().filter(|line| line.starts_with('│'));
    let cells = rows.map(|row| {
        let cells: Vec<_> = row.trim_matches('│').split('┆').map(str::trim).collect();
        cells[1..].join(" | ")
    });
    cells.filter(|row| !is_a_time(row)).collect()
}

fn is_a_time(row: &str) -> bool {
    row.contains("updated_at") || row.contains("\"20")
}

#[test]
fn the_trail_is_the_same_on_both_databases() {
    let (database, redis) = (TestDatabase::new(), RedisServer::start(&[]));
    let on_sqlite = trail(&[]);
    let on_servers = trail(&["--postgres", &database.url(), "--redis", &redis.url()]);
    assert_eq!(on_sqlite, on_servers);
    for expected in [
        "user 1 | api | update users 1 | role: \"member\" → \"admin\"",
        "user 1 | api | update users 1 | api_token: redacted",
        "user 1 | api | delete users 1 | api_token: redacted",
    ] {
        assert!(
            on_sqlite.iter().any(|row| row == expected),
            "{on_sqlite:#?}"
        );
    }
    assert!(
        !on_sqlite.iter().any(|row| row.contains("s3cret")),
        "a secret is shown"
    );
}
