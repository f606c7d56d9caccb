//! SIGTERM under load: how long until every process has ended by itself?

use std::time::Duration;

use crate::args::Args;
use crate::fleet::{Config, Fleet};
use crate::servers::Servers;
use audit_tests::Network;

use super::line;

/// What `stop()` may take, and a little for the process around it.
const BOUND: Duration = Duration::from_millis(7_000);

pub fn run(_: &Args) -> bool {
    let mut servers = Servers::start();
    let mut good = true;
    let mut tell = |what: &str, took: Option<Duration>| {
        let text = took.map_or("killed".to_owned(), |took| took.as_millis().to_string());
        line(&format!("SIGTERM under load to exit, {what}: ms"), text);
        good &= took.is_some();
    };
    tell("all at work", slowest(&mut servers, (2, 1), 5, |_| {}));
    let took = slowest(&mut servers, (2, 1), 2, |servers| servers.redis.suspend());
    tell("Redis silent", took);
    let took = slowest(&mut servers, (2, 1), 2, |servers| {
        servers.to_redis.set(Network::BlackHole);
    });
    tell("Redis behind a black hole", took);
    let took = slowest(&mut servers, (2, 1), 2, |servers| {
        servers.to_redis.set(Network::Refusing);
    });
    tell("Redis refusing", took);
    // Writers wait for PostgreSQL in their own statements: no library can end those.
    let took = slowest(&mut servers, (0, 2), 2, |servers| {
        servers.to_postgres.set(Network::BlackHole);
    });
    tell("consumers, PostgreSQL behind a black hole", took);
    good
}

/// The slowest of several times; none where a process had to be killed.
fn slowest(
    servers: &mut Servers,
    (writers, consumers): (usize, usize),
    times: usize,
    fault: impl Fn(&Servers),
) -> Option<Duration> {
    let mut slowest = Duration::ZERO;
    for _ in 0..times {
        let database = servers.database();
        let folder = tempfile::tempdir().expect("a folder");
        let journal = folder.path().join("journal.db").display().to_string();
        let config = Config::calm(servers, &database, folder.path(), &journal);
        let mut fleet = Fleet::new(config, writers, consumers);
        fleet.tend();
        std::thread::sleep(Duration::from_millis(1_000));
        fault(servers);
        std::thread::sleep(Duration::from_millis(1_000));
        slowest = slowest.max(fleet.stop(BOUND));
        servers.to_redis.heal();
        servers.to_postgres.heal();
        servers.redis.resume();
        if !fleet.problems.is_empty() {
            eprintln!("{:?}", fleet.problems);
            return None;
        }
    }
    Some(slowest)
}
