//! A long backlog: it is drained, and the consumer's memory stays flat.

use std::time::{Duration, Instant};

use crate::args::Args;
use crate::servers::Servers;

use super::{Consuming, count, fill, line, record};

/// How much more memory the whole backlog may take than its first tenth.
const FLAT: f64 = 1.25;

pub fn run(args: &Args) -> bool {
    let records: usize = args.or("backlog", 1_000_000);
    let mut servers = Servers::start();
    let database = servers.database();
    fill(&servers, records, |number| {
        record(number).encode().expect("a payload")
    });
    let consumer = Consuming::start(&servers, &database, 1_000);
    let started = Instant::now();
    let mut early = 0;
    loop {
        let left = servers.queued().unwrap_or(u64::MAX);
        if early == 0 && left <= records as u64 * 9 / 10 {
            early = consumer.memory("VmHWM");
        }
        if left == 0 {
            break;
        }
        assert!(started.elapsed() < Duration::from_secs(900), "not drained");
        std::thread::sleep(Duration::from_millis(50));
    }
    let took = started.elapsed();
    let most = consumer.memory("VmHWM");
    let stored = count(&mut database.connection(), "audit_logs");
    line("records in the backlog", records);
    line("stored", stored);
    line("seconds", format!("{:.1}", took.as_secs_f64()));
    line(
        "records a second",
        (records as f64 / took.as_secs_f64()) as u64,
    );
    line("consumer's peak memory after the first tenth, KiB", early);
    line("consumer's peak memory after all, KiB", most);
    stored == records as i64 && most as f64 <= early as f64 * FLAT
}
