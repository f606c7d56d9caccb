//! What the private servers have in common.

use std::fs;
use std::net::TcpListener;
use std::ops::RangeInclusive;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use audit_diesel::Consumer;

use crate::guard::Guard;

/// How long to wait for what has to come, on a machine that has much else to do.
pub const LONG: Duration = Duration::from_secs(120);

/// Below the ports that a system gives to who asks for any: nobody gets one of these by chance
/// while its server is away, neither to listen at nor to connect from.
const PORTS: RangeInclusive<u16> = 20_000..=31_999;

/// Looks every few milliseconds until the condition holds.
///
/// # Panics
///
/// When it does not hold within `timeout`; `what` says what was waited for.
pub fn wait_until(what: &str, timeout: Duration, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + timeout;
    while !condition() {
        assert!(Instant::now() < deadline, "waited {timeout:?} for {what}");
        thread::sleep(Duration::from_millis(5));
    }
}

/// Flushes until the consumer says these words about its latest try.
///
/// # Panics
///
/// When it says something else for too long, or nothing.
pub fn flush_fails(consumer: &Consumer, words: &str) {
    wait_until(words, LONG, || {
        let flushed = consumer.flush_within(Duration::from_millis(100));
        flushed.is_err_and(|error| error.to_string().contains(words))
    });
}

/// A port that nobody listens on, for now, and that this process gives out once.
pub(crate) fn free_port() -> u16 {
    static GIVEN: AtomicU32 = AtomicU32::new(0);
    // Several test processes begin at places far from each other.
    let first = std::process::id().wrapping_mul(7_919);
    let count = u32::from(PORTS.end() - PORTS.start()) + 1;
    let ports = (0..count).map(|_| {
        let place = first.wrapping_add(GIVEN.fetch_add(1, Ordering::Relaxed)) % count;
        PORTS.start() + place as u16
    });
    let is_free = |port: &u16| TcpListener::bind(("127.0.0.1", *port)).is_ok();
    ports.into_iter().find(is_free).expect("a free port")
}

/// A server process in a folder of its own.
pub(crate) struct Server {
    running: Option<(Child, Guard)>,
    pub(crate) log: PathBuf,
    folder: PathBuf,
}

impl Server {
    pub(crate) fn new(folder: &Path) -> Self {
        Self {
            running: None,
            log: folder.join("server.log"),
            folder: folder.to_owned(),
        }
    }

    /// Starts the server and waits until `ready` says so. False where it ended before.
    pub(crate) fn start(&mut self, command: &mut Command, ready: impl Fn() -> bool) -> bool {
        let log = fs::File::create(&self.log).expect("a log file");
        let also = log.try_clone().expect("a log file");
        command.stdin(Stdio::null()).stdout(log).stderr(also);
        let mut child = command
            .spawn()
            .unwrap_or_else(|error| panic!("{command:?} does not start: {error}"));
        let guard = Guard::over(child.id(), &self.folder);
        let mut ended = false;
        wait_until("the server's start", LONG, || {
            ended = child.try_wait().expect("its state").is_some();
            ended || ready()
        });
        if !ended {
            self.running = Some((child, guard));
        }
        !ended
    }

    pub(crate) fn is_running(&mut self) -> bool {
        let running = self.running.as_mut();
        running.is_some_and(|(child, _)| child.try_wait().expect("its state").is_none())
    }

    pub(crate) fn log_text(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Asks the server to end, by a signal, and waits for it.
    pub(crate) fn stop(&mut self, signal: &str) {
        if let Some((mut child, _guard)) = self.running.take() {
            send_signal(signal, &[child.id()]);
            wait_until("the server's end", LONG, || {
                child.try_wait().expect("its state").is_some()
            });
        }
    }

    /// Suspends or resumes the server, as SIGSTOP and SIGCONT do.
    pub(crate) fn signal(&self, signal: &str) {
        let (child, _) = self.running.as_ref().expect("the server runs");
        assert!(
            send_signal(signal, &[child.id()]),
            "it could not be signalled"
        );
    }

    /// Kills the server with all of its processes, and waits until they are gone: a process that
    /// serves a connection would answer one more statement before it notices.
    pub(crate) fn kill9(&mut self) {
        if let Some((mut child, _guard)) = self.running.take() {
            // Suspended, it makes no new ones between our look and its end.
            send_signal("STOP", &[child.id()]);
            let children = children_of(child.id());
            let _ = child.kill();
            let numbers: Vec<_> = children.iter().map(|process| process.number).collect();
            send_signal("KILL", &numbers);
            let _ = child.wait();
            wait_until("the end of the server's processes", LONG, || {
                !children.iter().any(Process::lives)
            });
        }
    }
}

/// Sends a signal, such as `STOP`. False where not all of the processes could be reached.
///
/// # Panics
///
/// When there is no shell.
pub fn send_signal(signal: &str, processes: &[u32]) -> bool {
    let processes = processes.iter().map(u32::to_string);
    let status = Command::new("sh")
        .args(["-c", "kill -s \"$@\"", "kill", signal])
        .args(processes)
        .stderr(Stdio::null())
        .status();
    status.expect("a shell starts").success()
}

/// A process of this machine, as it was when we looked.
struct Process {
    number: u32,
    parent: u32,
    /// When it began: its number may be given again.
    begun: u64,
}

impl Process {
    /// The process of this number, if it lives: one that only waits to be collected does not.
    fn read(number: u32) -> Option<Self> {
        let text = fs::read_to_string(format!("/proc/{number}/stat")).ok()?;
        // The name before it, in parentheses, may hold spaces and parentheses.
        let (_, rest) = text.rsplit_once(')')?;
        let fields: Vec<_> = rest.split_whitespace().collect();
        let process = Self {
            number,
            parent: fields.get(1)?.parse().ok()?,
            begun: fields.get(19)?.parse().ok()?,
        };
        let lives = !matches!(*fields.first()?, "Z" | "X");
        lives.then_some(process)
    }

    fn lives(&self) -> bool {
        Self::read(self.number).is_some_and(|now| now.begun == self.begun)
    }
}

fn children_of(parent: u32) -> Vec<Process> {
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    let numbers = processes.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let processes = numbers.filter_map(Process::read);
    processes
        .filter(|process| process.parent == parent)
        .collect()
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill9();
    }
}

/// Who the servers run as: PostgreSQL refuses root.
#[derive(Clone, Copy)]
pub(crate) struct User {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
}

impl User {
    /// Who runs the tests.
    pub(crate) fn ours() -> Self {
        let process = fs::metadata("/proc/self").expect("our process");
        let (uid, gid) = (process.uid(), process.gid());
        Self { uid, gid }
    }

    /// Somebody harmless, if we are root.
    pub(crate) fn instead_of_root() -> Option<Self> {
        if Self::ours().uid != 0 {
            return None;
        }
        let users = fs::read_to_string("/etc/passwd").expect("the list of users");
        let find = |name: &str| users.lines().find_map(|line| Self::parse(line, name));
        find("postgres").or_else(|| find("nobody"))
    }

    fn parse(line: &str, name: &str) -> Option<Self> {
        let mut fields = line.split(':');
        if fields.next() != Some(name) {
            return None;
        }
        let uid = fields.nth(1)?.parse().ok()?;
        let gid = fields.next()?.parse().ok()?;
        Some(Self { uid, gid })
    }

    pub(crate) fn own(self, folder: &Path) {
        std::os::unix::fs::chown(folder, Some(self.uid), Some(self.gid)).expect("chown");
    }

    pub(crate) fn run(self, command: &mut Command) {
        command.uid(self.uid).gid(self.gid);
    }
}

/// A new folder that the servers' user can reach.
pub(crate) fn folder(user: Option<User>) -> tempfile::TempDir {
    let folder = tempfile::Builder::new()
        .prefix("audit-test-")
        .tempdir()
        .expect("a temporary folder");
    if let Some(user) = user {
        user.own(folder.path());
    }
    folder
}

/// Finds a program on the PATH or in one of the folders.
pub(crate) fn find_program(name: &str, folders: &[PathBuf]) -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = folders.iter().cloned().chain(std::env::split_paths(&path));
    let program = found
        .map(|folder| folder.join(name))
        .find(|file| file.is_file());
    program
        .unwrap_or_else(|| panic!("there is no `{name}` here: run scripts/test, which installs it"))
}
