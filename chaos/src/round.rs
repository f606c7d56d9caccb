//! A round: processes write and die while things break, then all is calm, and the oracle judges.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use audit_diesel::Journal;

use crate::args::Args;
use crate::breaks::Break;
use crate::faults::{Fault, Scene, schedule};
use crate::fleet::{Config, Fleet, PREPARED_POINTS};
use crate::mode;
use crate::oracle::{self, Told, Verdict};
use crate::outcomes;
use crate::random::Random;
use crate::servers::Servers;

/// What a round is to be like.
#[derive(Debug, Clone)]
pub struct Plan {
    pub seed: u64,
    pub round: u64,
    pub time: Duration,
    pub control: bool,
    pub broken: Option<String>,
    pub mode: String,
    pub keep: bool,
}

impl Plan {
    pub fn of(args: &Args, round: u64) -> Self {
        // What is broken on purpose is the default mode's way.
        let mode = match args.has("break") || args.has("control") {
            true => mode::AFTER_COMMIT,
            false => mode::of_round(round),
        };
        Self {
            seed: args.or("seed", 1),
            round,
            time: Duration::from_secs(args.or("round-seconds", 30)),
            control: args.has("control"),
            broken: args.text("break").map(str::to_owned),
            mode: args.text("mode").unwrap_or(mode).to_owned(),
            keep: args.has("keep"),
        }
    }

    /// A short round of the control.
    pub fn control(args: &Args, attempt: u64) -> Self {
        Self {
            control: true,
            mode: mode::AFTER_COMMIT.to_owned(),
            time: Duration::from_secs(8),
            ..Self::of(args, attempt)
        }
    }
}

/// What came of a round.
#[derive(Default)]
pub struct Result {
    pub verdict: Verdict,
    pub kills: BTreeMap<&'static str, u64>,
    pub faults: BTreeMap<Fault, u64>,
    pub schedule: Vec<Fault>,
    pub problems: Vec<String>,
    pub shifted: u64,
    pub panicking: u64,
    pub drained_in: Duration,
    pub stopped_in: Duration,
}

impl Result {
    /// Whether nothing is wrong.
    pub fn is_good(&self) -> bool {
        self.verdict.is_good() && self.problems.is_empty()
    }

    /// Adds another round.
    pub fn add(&mut self, other: Self) {
        self.verdict.add(other.verdict);
        for (point, count) in other.kills {
            *self.kills.entry(point).or_default() += count;
        }
        for (fault, count) in other.faults {
            *self.faults.entry(fault).or_default() += count;
        }
        self.shifted += other.shifted;
        self.panicking += other.panicking;
        self.problems.extend(other.problems);
        self.drained_in = self.drained_in.max(other.drained_in);
        self.stopped_in = self.stopped_in.max(other.stopped_in);
    }
}

/// How long what is left may take to be stored once all is calm, on a machine that has much else
/// to do.
pub const DRAIN: Duration = Duration::from_secs(300);

/// The control pushes back for ever what was delivered twice.
const CONTROL_DRAIN: Duration = Duration::from_secs(10);

/// As long as processes may take to end.
const END: Duration = Duration::from_secs(60);

/// Plays a round.
///
/// # Panics
///
/// When the servers cannot be started again.
pub fn play(plan: &Plan, servers: &mut Servers) -> Result {
    let folder = tempfile::Builder::new().prefix("audit-chaos-").tempdir();
    let mut folder = folder.expect("a folder");
    folder.disable_cleanup(plan.keep);
    let database = servers.database();
    let journal = folder.path().join("journal.db");
    let mut random = Random::of(&[plan.seed, plan.round, 1]);
    let calm = Config::calm(
        servers,
        &database,
        folder.path(),
        &journal.display().to_string(),
    );
    let journal = (!plan.control).then_some(journal.as_path());
    let mut fleet = Fleet::new(config(plan, calm), 2, 3);
    let url = database.url();
    let name = url.rsplit_once('/').expect("URL/database").1.to_owned();
    let mut result = Result::default();
    let broken = plan.broken.as_deref().map(Break::named);
    let wipes = journal.is_some() && broken.is_none_or(Break::is_with_wipes);
    let faults = schedule(&mut random, wipes);
    let end = Instant::now() + plan.time;
    let mut scene = Scene {
        servers,
        fleet: &mut fleet,
        random: &mut random,
        database: &name,
        journal,
        poisoned: 0,
    };
    scene.pass(Duration::from_millis(500));
    for fault in faults.into_iter().cycle() {
        if Instant::now() >= end {
            break;
        }
        scene.happen(fault);
        *result.faults.entry(fault).or_default() += 1;
        result.schedule.push(fault);
        let pause = scene.random.within(100..600);
        scene.pass(Duration::from_millis(pause));
    }
    let poisoned = scene.poisoned;
    result.stopped_in = fleet.stop(END);
    fleet.become_calm();
    let started = Instant::now();
    let patience = if plan.control { CONTROL_DRAIN } else { DRAIN };
    let left = drain(&mut fleet, servers, journal, patience);
    result.drained_in = started.elapsed();
    fleet.stop(END);
    if let Some(left) = left {
        fleet
            .problems
            .push(format!("after {patience:?} not drained: {left}"));
    }
    let told = Told {
        outcomes: outcomes::read(folder.path()),
        fates: std::mem::take(&mut fleet.fates),
        has_window: plan.mode == mode::AFTER_COMMIT,
    };
    result.verdict = oracle::judge(&mut database.connection(), &told);
    let verdict = &result.verdict;
    if verdict.poisoned != poisoned && journal.is_some() {
        let quarantined = verdict.poisoned;
        let problem = format!("{quarantined} quarantined of {poisoned} poisoned");
        fleet.problems.push(problem);
    }
    assert!(verdict.adds_up(), "the oracle cannot count: {verdict:?}");
    result.kills = std::mem::take(&mut fleet.kills);
    result.shifted = fleet.shifted;
    result.panicking = fleet.panicking;
    result.problems = std::mem::take(&mut fleet.problems);
    if plan.keep {
        eprintln!("kept: {}", folder.path().display());
    }
    result
}

fn config(plan: &Plan, calm: Config) -> Config {
    let mut config = Config {
        seed: Random::of(&[plan.seed, plan.round, 2]).next(),
        deadly: true,
        faketime: faketime(),
        ..calm
    };
    config
        .writer
        .extend(["--mode".to_owned(), plan.mode.clone()]);
    if plan.mode == mode::PREPARED {
        config.writer_points = PREPARED_POINTS;
    }
    if let Some(broken) = &plan.broken {
        config.common.extend(["--break".to_owned(), broken.clone()]);
    }
    if plan.control {
        config.consumer.push("--control".to_owned());
        config.writer.clear();
    }
    config
}

/// Where Debian has the library that shifts a process's clock.
pub fn faketime() -> Option<PathBuf> {
    let folders = std::fs::read_dir("/usr/lib").ok()?.flatten();
    folders
        .map(|folder| folder.path().join("faketime/libfaketimeMT.so.1"))
        .find(|library| library.is_file())
}

/// Waits until journal and Redis are empty; says what is left if that does not happen.
pub fn drain(
    fleet: &mut Fleet,
    servers: &Servers,
    journal: Option<&Path>,
    patience: Duration,
) -> Option<String> {
    let journal = journal.map(|path| Journal::builder(path).busy_timeout(DRAIN).open());
    let journal = journal.map(|journal| journal.expect("the journal"));
    let end = Instant::now() + patience;
    // Twice in a row: between the two looks something may move from the one to the other.
    let mut empty = 0;
    loop {
        fleet.tend();
        let in_journal = journal.as_ref().map_or(Some(0), |j| j.bytes().ok());
        let in_redis = servers.queued();
        empty = if in_journal == Some(0) && in_redis == Some(0) {
            empty + 1
        } else {
            0
        };
        if empty == 3 {
            return None;
        }
        if Instant::now() >= end {
            return Some(format!("journal {in_journal:?}, Redis {in_redis:?}"));
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}
