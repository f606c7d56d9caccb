//! What the private servers have in common.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::guard::Guard;

const START_TIMEOUT: Duration = Duration::from_secs(60);
const STOP_TIMEOUT: Duration = Duration::from_secs(30);

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

/// A port that nobody listens on, for now.
pub(crate) fn free_port() -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
    listener.local_addr().expect("its address").port()
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
        wait_until("the server's start", START_TIMEOUT, || {
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
            wait_until("the server's end", STOP_TIMEOUT, || {
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
            send_signal("KILL", &children);
            let _ = child.wait();
            wait_until("the end of the server's processes", STOP_TIMEOUT, || {
                !children.iter().any(|process| parent_of(*process).is_some())
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

fn children_of(parent: u32) -> Vec<u32> {
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    let numbers = processes.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    numbers
        .filter(|process| parent_of(*process) == Some(parent))
        .collect()
}

/// The parent of a process that lives; one that only waits to be collected does not.
fn parent_of(process: u32) -> Option<u32> {
    let text = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    // The name before it, in parentheses, may hold spaces and parentheses.
    let (_, rest) = text.rsplit_once(')')?;
    let mut fields = rest.split_whitespace();
    let lives = !matches!(fields.next()?, "Z" | "X");
    let parent = fields.next()?.parse().ok()?;
    lives.then_some(parent)
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
