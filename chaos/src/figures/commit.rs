//! Crashes around COMMIT: where a transaction's records are lost, if they are.

use std::time::{Duration, Instant};

use crate::args::Args;
use crate::fleet::{AROUND_COMMIT, AROUND_PREPARED_COMMIT, Config, Fleet};
use crate::mode;
use crate::oracle::{self, Told};
use crate::outcomes;
use crate::random::Random;
use crate::round;
use crate::servers::Servers;

use super::line;

/// How long the crashes may take.
const PATIENCE: Duration = Duration::from_secs(560);

pub fn run(args: &Args) -> bool {
    let crashes: u64 = args.or("commit", 1_000);
    let mode = args.text("mode").unwrap_or(mode::PREPARED);
    let mut servers = Servers::start();
    let database = servers.database();
    let folder = tempfile::tempdir().expect("a folder");
    let journal = folder.path().join("journal.db");
    let path = journal.display().to_string();
    let mut config = Config::calm(&servers, &database, folder.path(), &path);
    config.seed = args.or("seed", 1);
    config.deadly = true;
    config.writer_points = match mode {
        mode::PREPARED => AROUND_PREPARED_COMMIT,
        _ => AROUND_COMMIT,
    };
    config.consumer_points = &[];
    config.writer.extend(["--mode".to_owned(), mode.to_owned()]);
    config
        .writer
        .extend(["--pause-us".to_owned(), "0".to_owned()]);
    let mut random = Random::of(&[config.seed, 3]);
    let mut fleet = Fleet::new(config, 3, 1);
    let started = Instant::now();
    let mut cut = 0;
    while fleet.kills.values().sum::<u64>() < crashes && started.elapsed() < PATIENCE {
        fleet.tend();
        std::thread::sleep(Duration::from_millis(2));
        // Some COMMITs lose their connection rather than their process.
        if random.one_in(50) {
            cut += servers.terminate("query = 'COMMIT'");
        }
    }
    fleet.stop(Duration::from_secs(10));
    fleet.become_calm();
    if let Some(left) = round::drain(&mut fleet, &servers, Some(&journal), round::DRAIN) {
        fleet.problems.push(format!("not drained: {left}"));
    }
    fleet.stop(Duration::from_secs(10));
    let told = Told {
        outcomes: outcomes::read(folder.path()),
        fates: std::mem::take(&mut fleet.fates),
        has_window: mode == mode::AFTER_COMMIT,
    };
    let verdict = oracle::judge(&mut database.connection(), &told);
    for (point, count) in &fleet.kills {
        line(&format!("{mode}: killed at {point}"), count);
    }
    let kills: u64 = fleet.kills.values().sum();
    line(&format!("{mode}: crashes around COMMIT"), kills);
    line(&format!("{mode}: connections ended around it"), cut);
    line(
        &format!("{mode}: writes kept by the database"),
        verdict.kept,
    );
    line(
        &format!("{mode}: lost in the documented window"),
        verdict.in_windows(),
    );
    line(&format!("{mode}: lost"), verdict.lost);
    line(&format!("{mode}: phantom"), verdict.phantom);
    line(&format!("{mode}: twice"), verdict.twice);
    line(&format!("{mode}: wrong"), verdict.wrong + verdict.wrong_old);
    line(
        &format!("{mode}: kept, and in quarantine with the reason"),
        verdict.set_aside,
    );
    for text in verdict.examples.iter().chain(&fleet.problems) {
        println!("  {text}");
    }
    verdict.is_good() && fleet.problems.is_empty() && kills >= crashes
}
