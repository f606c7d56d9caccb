//! PostgreSQL servers for tests.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use diesel::connection::SimpleConnection;
use diesel::{Connection, PgConnection};

use crate::server::{Server, User, find_program, folder, free_port};
use crate::small_disk::SmallDisk;

/// A PostgreSQL of a test's own, on a free port and in a temporary folder; killed on drop.
///
/// It does not wait for the disk (`fsync=off`): it survives a kill, and no power cut.
pub struct PostgresServer {
    server: Server,
    port: u16,
    user: Option<User>,
    small: Option<(SmallDisk, OnSmallDisk)>,
    /// The library that shifts its clock, and by how many seconds.
    clock: Option<(PathBuf, i64)>,
    folder: tempfile::TempDir,
}

/// What of a PostgreSQL lies on a disk that can be filled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnSmallDisk {
    /// Its tables; the write-ahead log lies elsewhere.
    Data,
    /// Its write-ahead log.
    Log,
}

/// So large that a new cluster and a few databases fit.
const SMALL_DISK_BYTES: u64 = 96 << 20;

impl PostgresServer {
    /// Starts one and waits until it is ready.
    ///
    /// # Panics
    ///
    /// When it does not start.
    pub fn start() -> Self {
        let user = User::instead_of_root();
        Self::start_in(folder(user), user, None)
    }

    /// Starts one with a part of it on a disk that can be filled. `None` where the machine lets us
    /// mount none.
    ///
    /// # Panics
    ///
    /// When it does not start.
    pub fn start_on_small_disk(part: OnSmallDisk) -> Option<Self> {
        let user = User::instead_of_root();
        let folder = folder(user);
        let place = small_disk_in(folder.path());
        std::fs::create_dir(&place).expect("a folder");
        let disk = SmallDisk::mount(&place, SMALL_DISK_BYTES)?;
        Some(Self::start_in(folder, user, Some((disk, part))))
    }

    fn start_in(
        folder: tempfile::TempDir,
        user: Option<User>,
        small: Option<(SmallDisk, OnSmallDisk)>,
    ) -> Self {
        let mut postgres = Self {
            server: Server::new(folder.path()),
            port: 0,
            user,
            small,
            clock: None,
            folder,
        };
        postgres.initdb();
        // Somebody may take the port between our look and the server's.
        let started = (0..5).any(|_| {
            postgres.port = free_port();
            postgres.launch()
        });
        assert!(started, "postgres: {}", postgres.server.log_text());
        postgres
    }

    /// The disk that a part of it lies on.
    ///
    /// # Panics
    ///
    /// When it was not started with one.
    pub fn small_disk(&self) -> &SmallDisk {
        let (disk, _) = self.small.as_ref().expect("a small disk");
        disk
    }

    fn initdb(&self) {
        let mut command = self.command("initdb");
        command
            .args(["--auth=trust", "--username=postgres", "--encoding=UTF8"])
            .args(["--locale=C", "--no-sync", "--pgdata"])
            .arg(self.data());
        if self.small.is_some() {
            let log = self.folder_of(OnSmallDisk::Log).join("log");
            command.args(["--wal-segsize=1", "--waldir"]).arg(log);
        }
        let output = command.stdin(Stdio::null()).output().expect("initdb runs");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "initdb: {said}");
    }

    fn launch(&mut self) -> bool {
        let data = self.data();
        let state = self.reach(&data.join("postmaster.pid"));
        let _ = std::fs::remove_file(&state);
        let mut command = self.command("postgres");
        command
            .arg("-D")
            .arg(&data)
            .args(["-p", &self.port.to_string(), "-k"])
            .arg(self.folder.path())
            .args(["-c", "listen_addresses=127.0.0.1", "-c", "fsync=off"])
            .args(["-c", "max_connections=200", "-c", "shared_buffers=32MB"]);
        if self.small.is_some() {
            // A checkpoint would make room.
            command.args(["-c", "checkpoint_timeout=1d", "-c", "max_wal_size=1GB"]);
        }
        if let Some((library, seconds)) = &self.clock {
            command
                .env("LD_PRELOAD", library)
                .env("FAKETIME", format!("{seconds:+}s"))
                .env("FAKETIME_DONT_FAKE_MONOTONIC", "1");
        }
        // The eighth line is the server's own word on its state.
        self.server.start(&mut command, || {
            let text = std::fs::read_to_string(&state).unwrap_or_default();
            text.lines()
                .nth(7)
                .is_some_and(|word| word.trim() == "ready")
        })
    }

    fn command(&self, program: &str) -> Command {
        let program = find_program(program, &program_folders());
        let mut command = match (&self.small, self.user) {
            (Some((disk, _)), user) => disk.command(&program, user),
            (None, Some(user)) => {
                let mut command = Command::new(program);
                user.run(&mut command);
                command
            }
            (None, None) => Command::new(program),
        };
        command.current_dir(self.folder.path()).env("LC_ALL", "C");
        command
    }

    fn data(&self) -> PathBuf {
        self.folder_of(OnSmallDisk::Data).join("data")
    }

    fn folder_of(&self, part: OnSmallDisk) -> PathBuf {
        match &self.small {
            Some((_, small)) if *small == part => small_disk_in(self.folder.path()),
            _ => self.folder.path().to_owned(),
        }
    }

    /// How this process gets at a file of the server.
    fn reach(&self, file: &Path) -> PathBuf {
        let disk = self.small.as_ref();
        disk.map_or_else(|| file.to_owned(), |(disk, _)| disk.reach(file))
    }

    /// The URL of the superuser.
    pub fn url(&self) -> String {
        format!("postgres://postgres@127.0.0.1:{}/postgres", self.port)
    }

    /// Ends the server at once and in order, whoever is connected.
    pub fn stop(&mut self) {
        self.server.stop("INT");
    }

    /// Ends the server as `pg_ctl stop -m immediate` does: it recovers when it starts again.
    pub fn stop_immediately(&mut self) {
        self.server.stop("QUIT");
    }

    /// The port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Whether the server runs; it ends by itself where it cannot recover.
    pub fn is_running(&mut self) -> bool {
        self.server.is_running()
    }

    /// What the server has said since it was started.
    pub fn log_text(&self) -> String {
        self.server.log_text()
    }

    /// Kills the server.
    pub fn kill9(&mut self) {
        self.server.kill9();
    }

    /// From now on a COMMIT under `SET synchronous_commit = on` waits for a standby that does not
    /// exist: what is committed is committed, and nobody says so. It restarts the server, as a
    /// running one takes such a setting at some time after it was told.
    ///
    /// # Panics
    ///
    /// When the server refuses it, or does not start again.
    pub fn answer_no_commit(&mut self) {
        let mut admin = PgConnection::establish(&self.url()).expect("a connection");
        for step in [
            "ALTER ROLE postgres SET synchronous_commit = local",
            "ALTER SYSTEM SET synchronous_standby_names = 'nobody'",
        ] {
            admin.batch_execute(step).expect(step);
        }
        drop(admin);
        self.restart();
    }

    /// As [`restart`](Self::restart), with a clock that libfaketime, at this path, shifts by so many
    /// seconds until it is started again.
    ///
    /// # Panics
    ///
    /// When it does not start.
    pub fn restart_with_clock(&mut self, faketime: &Path, seconds: i64) {
        self.launch_again(Some((faketime.to_owned(), seconds)));
    }

    /// Starts it again on the same port with the same data, and waits until it is ready.
    ///
    /// # Panics
    ///
    /// When it does not start.
    pub fn restart(&mut self) {
        self.launch_again(None);
    }

    fn launch_again(&mut self, clock: Option<(PathBuf, i64)>) {
        self.stop();
        self.clock = clock;
        let log = &self.server.log.clone();
        // After a kill the old server's processes hold its memory until they notice.
        let started = (0..50).any(|_| self.launch());
        assert!(
            started,
            "postgres: {}",
            std::fs::read_to_string(log).unwrap_or_default()
        );
    }
}

fn small_disk_in(folder: &Path) -> PathBuf {
    folder.join("disk")
}

/// Debian keeps the programs of each major version out of the PATH; the newest one is first.
fn program_folders() -> Vec<PathBuf> {
    let versions = std::fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten();
    let mut folders: Vec<_> = versions.flatten().map(|entry| entry.path()).collect();
    let version = |path: &PathBuf| {
        let name = path
            .file_name()
            .map(|name| name.to_string_lossy().into_owned());
        name.and_then(|name| name.parse::<f32>().ok())
            .unwrap_or(0.0)
    };
    folders.sort_by(|a, b| version(b).total_cmp(&version(a)));
    folders
        .into_iter()
        .map(|folder| folder.join("bin"))
        .collect()
}
