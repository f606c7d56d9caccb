//! Entries of any size in the list, which is open to whoever reaches Redis.

use std::process::Command;
use std::sync::Arc;

use audit_diesel::{Consumer, Queue, RedisQueue};
use audit_tests::app::postgres::app;
use audit_tests::{LONG, RedisServer, pg_pool};

use crate::on_postgres::helpers::*;

/// Puts an entry into the list that consists of one letter.
fn push_letters(server: &RedisServer, letter: &str, bytes: usize) {
    const PUSH: &str = "return redis.call('RPUSH', KEYS[1], string.rep(ARGV[1], ARGV[2]))";
    redis::Script::new(PUSH)
        .key("audit:queue")
        .arg(letter)
        .arg(bytes)
        .invoke::<u64>(&mut server.connection())
        .unwrap();
}

fn list(url: String) -> RedisQueue {
    let queue = RedisQueue::builder(url)
        .owner("tests")
        .connect_timeout(LONG)
        .io_timeout(LONG);
    queue.build().unwrap()
}

#[test]
fn an_entry_that_is_too_long_for_a_record_goes_to_quarantine_as_its_beginning_and_a_digest() {
    let (app, server) = (app(), RedisServer::start(&[]));
    let list = list(server.url());
    list.push(&payloads(2)).unwrap();
    for letter in ["x", "y", "x"] {
        push_letters(&server, letter, 9 << 20);
    }
    list.push(&[payload("n.2")]).unwrap();
    let consumer = consumer(&app, list.clone());
    consumer.flush().unwrap();
    assert_eq!(stored(&app), names(3));
    assert!(list.is_empty().unwrap());
    let mut held = quarantined(&app);
    held.sort_by(|a, b| a.payload.cmp(&b.payload));
    assert_eq!(held.len(), 2, "the same twice is there once");
    for row in &held {
        assert_eq!(row.payload.len(), 64 << 10);
        assert!(
            row.reason.contains("it is 9437184 bytes long"),
            "{}",
            row.reason
        );
    }
    for (row, digest) in held.iter().zip([X_DIGEST, Y_DIGEST]) {
        assert!(
            row.reason.contains(&format!("sha1:{digest}")),
            "{}",
            row.reason
        );
    }
}

/// `head -c 9437184 /dev/zero | tr '\0' x | sha1sum`
const X_DIGEST: &str = "43feb3b8ef3546c797832a4b79ff956d25104824";
const Y_DIGEST: &str = "92c9dbe7df42545a792e0a7d9582f9e8fc001ea1";

const CHILD: &str = "AUDIT_TEST_CHILD_OVERSIZED";

/// Not a test of its own: it stores what is in the list, and says how much memory that took.
#[test]
#[ignore = "a child process of another test"]
fn child() {
    let Ok(urls) = std::env::var(CHILD) else {
        return;
    };
    let (redis, postgres) = urls.split_once(' ').unwrap();
    // With the default time-outs: nobody knows beforehand that there is such an entry.
    let queue = Arc::new(RedisQueue::builder(redis).owner("tests").build().unwrap());
    let consumer = Consumer::builder(queue, pg_pool(postgres)).interval(NEVER);
    let consumer = consumer.spawn().unwrap();
    consumer.flush_within(LONG).unwrap();
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    println!("\npeak {}", peak.unwrap().trim().trim_end_matches(" kB"));
}

#[test]
fn an_entry_of_300_mib_takes_no_more_memory_than_a_batch() {
    let (app, server) = (app(), RedisServer::start(&[]));
    push_letters(&server, "x", 300 << 20);
    list(server.url()).push(&payloads(10)).unwrap();
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["oversized::child", "--exact", "--ignored", "--nocapture"])
        .env(CHILD, format!("{} {}", server.url(), app.guard.url()))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let peak = said.lines().find_map(|line| line.strip_prefix("peak "));
    let peak: u64 = peak.unwrap_or_else(|| panic!("{said}")).parse().unwrap();
    assert!(peak < 100 << 10, "{peak} KiB");
    assert_eq!(stored(&app), names(10));
    assert_eq!(quarantined(&app).len(), 1);
    assert!(list(server.url()).is_empty().unwrap());
    assert!(quarantined(&app)[0].reason.contains("314572800 bytes"));
}
