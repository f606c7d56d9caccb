//! The processes of a run: each has a place, and when it dies another one takes it.

mod points;

pub use points::{AROUND_COMMIT, AROUND_PREPARED_COMMIT, PREPARED_POINTS};

use std::collections::{BTreeMap, HashMap};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use audit_tests::{TestDatabase, send_signal};

use crate::random::Random;
use crate::servers::Servers;
use points::{CONSUMER_PANICS, CONSUMER_POINTS, Points, WRITER_PANICS, WRITER_POINTS};

/// What a process of the fleet does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    Writer,
    Consumer,
}

/// How a process ended, where nobody asked it to.
pub const AT_RANDOM: &str = "kill -9 at random";

/// What the processes are started with.
pub struct Config {
    pub folder: PathBuf,
    pub seed: u64,
    /// Whether processes die at points and at random.
    pub deadly: bool,
    pub writer_points: Points,
    /// None: consumers live on.
    pub consumer_points: Points,
    /// Arguments for both roles.
    pub common: Vec<String>,
    pub writer: Vec<String>,
    pub consumer: Vec<String>,
    /// The library that shifts a process's clock.
    pub faketime: Option<PathBuf>,
}

impl Config {
    /// Processes that nobody kills, with a journal that the writers share.
    pub fn calm(servers: &Servers, database: &TestDatabase, folder: &Path, journal: &str) -> Self {
        Self {
            folder: folder.to_owned(),
            seed: 1,
            deadly: false,
            writer_points: WRITER_POINTS,
            consumer_points: CONSUMER_POINTS,
            common: vec![
                "--postgres".to_owned(),
                servers.postgres_url(database),
                "--redis".to_owned(),
                servers.redis_url(),
                "--key".to_owned(),
                servers.key.clone(),
            ],
            writer: vec!["--journal".to_owned(), journal.to_owned()],
            consumer: vec!["--postgres".to_owned(), servers.store_url(database)],
            faketime: None,
        }
    }
}

struct Process {
    child: Child,
    name: String,
    point: Option<&'static str>,
    dies_at: Instant,
    stopped: bool,
}

struct Place {
    role: Role,
    random: Random,
    incarnation: u64,
    process: Option<Process>,
}

/// The processes.
pub struct Fleet {
    config: Config,
    places: Vec<Place>,
    /// What each process that was killed died of.
    pub fates: HashMap<String, &'static str>,
    /// Kills, by point.
    pub kills: BTreeMap<&'static str, u64>,
    /// Processes with a shifted clock.
    pub shifted: u64,
    /// Processes in which something panics now and then.
    pub panicking: u64,
    /// What went wrong with the processes themselves.
    pub problems: Vec<String>,
    shift_next: Option<i64>,
}

impl Fleet {
    /// So many places; nothing runs yet.
    pub fn new(config: Config, writers: usize, consumers: usize) -> Self {
        let roles = std::iter::repeat_n(Role::Writer, writers)
            .chain(std::iter::repeat_n(Role::Consumer, consumers));
        let places = roles.enumerate().map(|(number, role)| Place {
            role,
            random: Random::of(&[config.seed, number as u64]),
            incarnation: 0,
            process: None,
        });
        Self {
            places: places.collect(),
            config,
            fates: HashMap::new(),
            kills: BTreeMap::new(),
            shifted: 0,
            panicking: 0,
            problems: Vec::new(),
            shift_next: None,
        }
    }

    /// Fills empty places, and ends who has lived long enough.
    pub fn tend(&mut self) {
        for number in 0..self.places.len() {
            let Some(process) = &mut self.places[number].process else {
                self.fill(number);
                continue;
            };
            let ended = process.child.try_wait().expect("its state");
            if let Some(status) = ended {
                let point = process.point.filter(|_| status.signal() == Some(9));
                let name = process.name.clone();
                match point {
                    Some(point) => self.killed(name, point),
                    None => self
                        .problems
                        .push(format!("{name} ended by itself: {status}")),
                }
                self.fill(number);
            } else if process.dies_at <= Instant::now() && !process.stopped {
                self.kill(number);
                self.fill(number);
            }
        }
    }

    fn killed(&mut self, name: String, point: &'static str) {
        self.fates.insert(name, point);
        *self.kills.entry(point).or_default() += 1;
    }

    fn kill(&mut self, number: usize) {
        if let Some(mut process) = self.places[number].process.take() {
            let _ = process.child.kill();
            let _ = process.child.wait();
            self.killed(process.name, AT_RANDOM);
        }
    }

    /// Kills one process of the role, now.
    pub fn kill_one(&mut self, role: Role, random: &mut Random) {
        let number = self.one_of(role, random);
        self.kill(number);
    }

    fn one_of(&self, role: Role, random: &mut Random) -> usize {
        let of_role = |number: &usize| self.places[*number].role == role;
        let numbers: Vec<_> = (0..self.places.len()).filter(of_role).collect();
        *random.choose(&numbers)
    }

    /// Suspends a process of the role; the answer resumes it.
    pub fn suspend(&mut self, role: Role, random: &mut Random) -> Option<u32> {
        let number = self.one_of(role, random);
        let process = self.places[number].process.as_mut()?;
        process.stopped = true;
        let id = process.child.id();
        send_signal("STOP", &[id]);
        Some(id)
    }

    /// Resumes a suspended process, if it is still there.
    pub fn resume(&mut self, id: u32) {
        let processes = self.places.iter_mut().filter_map(|p| p.process.as_mut());
        if let Some(process) = processes.into_iter().find(|p| p.child.id() == id) {
            process.stopped = false;
            send_signal("CONT", &[id]);
        }
    }

    /// The next process of each role that starts has its clock shifted by so many seconds.
    pub fn shift_next(&mut self, seconds: i64) {
        self.shift_next = Some(seconds);
    }

    fn fill(&mut self, number: usize) {
        let place = &mut self.places[number];
        let random = &mut place.random;
        let points = match place.role {
            Role::Writer => self.config.writer_points,
            Role::Consumer => self.config.consumer_points,
        };
        let deadly = self.config.deadly && !points.is_empty();
        // Chosen whether used or not, so that the choices that follow stay the same.
        let (point, most) = match points {
            [] => ("", 1),
            points => *random.choose(points),
        };
        let passes = random.within(1..most + 1);
        let (seed, at_random) = (random.next(), random.one_in(5));
        // Who is to die at a point gets the time to come there.
        let most_ms = if at_random { 2_500 } else { 7_000 };
        let lives = Duration::from_millis(random.within(most_ms / 8..most_ms));
        let (kind, args, panics) = match place.role {
            Role::Writer => ("writer", &self.config.writer, WRITER_PANICS),
            Role::Consumer => ("consumer", &self.config.consumer, CONSUMER_PANICS),
        };
        let panics_at = *random.choose(panics);
        let panics_each = random.within(2..panics_at.1 + 2);
        let panics = random.one_in(4);
        let name = format!("{kind}{number}.{}", place.incarnation);
        place.incarnation += 1;
        let mut command = Command::new(std::env::current_exe().expect("this program"));
        command
            .arg(kind)
            .args(["--name", &name, "--seed", &seed.to_string()])
            .arg("--folder")
            .arg(&self.config.folder)
            .args(&self.config.common)
            .args(args)
            .stdin(Stdio::null());
        let log = self.config.folder.join(format!("{name}.log"));
        let log = std::fs::File::create(log).expect("a log");
        command.stdout(log.try_clone().expect("a log")).stderr(log);
        command.env("AUDIT_LEASE_MS", "300");
        let point = (deadly && !at_random).then_some(point);
        if let Some(point) = point {
            command.env("AUDIT_FAILPOINT", format!("{point}:{passes}"));
        }
        if deadly && panics {
            let (name, _) = panics_at;
            command.env("AUDIT_PANICPOINT", format!("{name}:{panics_each}"));
            self.panicking += 1;
        }
        if let (Some(seconds), Some(library)) = (self.shift_next.take(), &self.config.faketime) {
            command
                .env("LD_PRELOAD", library)
                .env("FAKETIME", format!("{seconds:+}s"))
                .env("FAKETIME_DONT_FAKE_MONOTONIC", "1");
            self.shifted += 1;
        }
        let hour = Duration::from_secs(3_600);
        self.places[number].process = Some(Process {
            child: command.spawn().expect("a process"),
            name,
            point,
            dies_at: Instant::now() + if deadly { lives } else { hour },
            stopped: false,
        });
    }

    /// From now on nobody dies, and writers write nothing: they carry on what is left.
    pub fn become_calm(&mut self) {
        self.config.deadly = false;
        self.config.writer.extend(["--threads".into(), "0".into()]);
    }

    /// Asks all to end and waits for it; how long the slowest took.
    pub fn stop(&mut self, patience: Duration) -> Duration {
        let started = Instant::now();
        let processes = self.places.iter_mut().filter_map(|p| p.process.take());
        let mut running: Vec<_> = processes.collect();
        for process in &running {
            send_signal("CONT", &[process.child.id()]);
            send_signal("TERM", &[process.child.id()]);
        }
        while !running.is_empty() && started.elapsed() < patience {
            let mut left = Vec::new();
            for mut process in running {
                match process.child.try_wait().expect("its state") {
                    None => left.push(process),
                    Some(status) => self.stopped(&process, status),
                }
            }
            running = left;
            std::thread::sleep(Duration::from_millis(2));
        }
        for mut process in running {
            let _ = process.child.kill();
            let _ = process.child.wait();
            let name = process.name;
            let problem = format!("{name} did not stop within {patience:?} of SIGTERM");
            self.problems.push(problem);
            self.killed(name, AT_RANDOM);
        }
        started.elapsed()
    }

    fn stopped(&mut self, process: &Process, status: std::process::ExitStatus) {
        let name = process.name.clone();
        match (status.signal(), process.point) {
            (Some(9), Some(point)) => self.killed(name, point),
            // It had not set up its handler yet.
            (Some(15), _) => self.killed(name, AT_RANDOM),
            _ if status.success() => {}
            _ => self.problems.push(format!("{name} ended with {status}")),
        }
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        for place in &mut self.places {
            if let Some(mut process) = place.process.take() {
                let _ = process.child.kill();
                let _ = process.child.wait();
            }
        }
    }
}
