//! SIGTERM under load: how long until every process has ended by itself?

use std::time::Duration;

use crate::args::Args;
use crate::fleet::{Config, Fleet};
use crate::proxy::Network;
use crate::servers::Servers;

use super::line;

/// What `stop()` may take, and a little for the process around it.
const BOUND: Duration = Duration::from_millis(7_000);

pub fn run(_: &Args) -> bool {
    let servers = Servers::start();
    let mut good = true;
    let mut tell = |what: &str, took: Option<Duration>| {
        let text = took.map_or("killed".to_owned(), |took| took.as_millis().to_string());
        line(&format!("SIGTERM under load to exit, {what}: ms"), text);
        good &= took.is_some();
    };
    tell("all at work", slowest(&servers, 5, || {}));
    let took = slowest(&servers, 2, || servers.redis.suspend());
    servers.redis.resume();
    tell("Redis silent", took);
    let took = slowest(&servers, 2, || servers.to_redis.set(Network::BlackHole));
    servers.to_redis.heal();
    tell("Redis behind a black hole", took);
    let took = slowest(&servers, 2, || servers.to_redis.set(Network::Refusing));
    servers.to_redis.heal();
    tell("Redis refusing", took);
    good
}

/// The slowest of several times; none where a process had to be killed.
fn slowest(servers: &Servers, times: usize, fault: impl Fn()) -> Option<Duration> {
    let mut slowest = Duration::ZERO;
    for _ in 0..times {
        servers.to_redis.heal();
        servers.redis.resume();
        let database = servers.database();
        let folder = tempfile::tempdir().expect("a folder");
        let journal = folder.path().join("journal.db").display().to_string();
        let config = Config::calm(servers, &database, folder.path(), &journal);
        let mut fleet = Fleet::new(config, 2, 1);
        fleet.tend();
        std::thread::sleep(Duration::from_millis(1_000));
        fault();
        std::thread::sleep(Duration::from_millis(1_000));
        slowest = slowest.max(fleet.stop(BOUND));
        if !fleet.problems.is_empty() {
            eprintln!("{:?}", fleet.problems);
            return None;
        }
    }
    Some(slowest)
}
