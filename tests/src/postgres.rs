//! PostgreSQL for tests.

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use diesel::prelude::*;
use diesel::r2d2::{ConnectionManager, Pool};

use crate::server::{Server, User, find_program, folder, free_port};

/// A pool of PostgreSQL connections.
pub type PgPool = Pool<ConnectionManager<PgConnection>>;

/// A pool of up to ten connections, made when needed.
///
/// # Panics
///
/// When the database cannot be reached.
pub fn pg_pool(url: &str) -> PgPool {
    Pool::builder()
        .max_size(10)
        .min_idle(Some(0))
        .build(ConnectionManager::new(url))
        .expect("a pool")
}

/// An empty database of its own on the PostgreSQL that all tests share; dropped on drop.
pub struct TestDatabase {
    admin_url: String,
    name: String,
}

impl TestDatabase {
    /// A new database.
    #[expect(clippy::new_without_default, reason = "it does more than a default")]
    pub fn new() -> Self {
        Self::on(shared_url())
    }

    /// A new database on the server with this URL of a superuser.
    ///
    /// # Panics
    ///
    /// When it cannot be created.
    pub fn on(admin_url: &str) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("audit_test_{}_{number}", std::process::id());
        let database = Self {
            admin_url: admin_url.to_owned(),
            name,
        };
        database
            .admin(&format!(
                "CREATE DATABASE {} TEMPLATE template0",
                database.name
            ))
            .expect("a new database");
        database
    }

    /// The database's URL.
    pub fn url(&self) -> String {
        let (server, _) = self.admin_url.rsplit_once('/').expect("URL/database");
        format!("{server}/{}", self.name)
    }

    /// A connection.
    ///
    /// # Panics
    ///
    /// When the database cannot be reached.
    pub fn connection(&self) -> PgConnection {
        PgConnection::establish(&self.url()).expect("a connection")
    }

    /// A pool of connections.
    pub fn pool(&self) -> PgPool {
        pg_pool(&self.url())
    }

    fn admin(&self, sql: &str) -> Result<(), Box<dyn std::error::Error>> {
        let mut connection = PgConnection::establish(&self.admin_url)?;
        diesel::sql_query(sql).execute(&mut connection)?;
        Ok(())
    }
}

impl Drop for TestDatabase {
    fn drop(&mut self) {
        let _ = self.admin(&format!(
            "DROP DATABASE IF EXISTS {} WITH (FORCE)",
            self.name
        ));
    }
}

fn shared_url() -> &'static str {
    static URL: OnceLock<String> = OnceLock::new();
    static OWN: OnceLock<PostgresServer> = OnceLock::new();
    URL.get_or_init(|| {
        std::env::var("AUDIT_TEST_POSTGRES_URL")
            .unwrap_or_else(|_| OWN.get_or_init(PostgresServer::start).url())
    })
}

/// A PostgreSQL of a test's own, on a free port and in a temporary folder; killed on drop.
///
/// It does not wait for the disk (`fsync=off`): it survives a kill, and no power cut.
pub struct PostgresServer {
    server: Server,
    port: u16,
    user: Option<User>,
    folder: tempfile::TempDir,
}

impl PostgresServer {
    /// Starts one and waits until it is ready.
    ///
    /// # Panics
    ///
    /// When it does not start.
    pub fn start() -> Self {
        let user = User::instead_of_root();
        let folder = folder(user);
        let mut postgres = Self {
            server: Server::new(folder.path()),
            port: 0,
            user,
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

    fn initdb(&self) {
        let output = self
            .command("initdb")
            .args(["--auth=trust", "--username=postgres", "--encoding=UTF8"])
            .args(["--locale=C", "--no-sync", "--pgdata"])
            .arg(self.data())
            .stdin(Stdio::null())
            .output()
            .expect("initdb runs");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "initdb: {said}");
    }

    fn launch(&mut self) -> bool {
        let data = self.data();
        let state = data.join("postmaster.pid");
        let _ = std::fs::remove_file(&state);
        let mut command = self.command("postgres");
        command
            .arg("-D")
            .arg(&data)
            .args(["-p", &self.port.to_string(), "-k"])
            .arg(self.folder.path())
            .args(["-c", "listen_addresses=127.0.0.1", "-c", "fsync=off"])
            .args(["-c", "max_connections=200", "-c", "shared_buffers=32MB"]);
        // The eighth line is the server's own word on its state.
        self.server.start(&mut command, || {
            let text = std::fs::read_to_string(&state).unwrap_or_default();
            text.lines()
                .nth(7)
                .is_some_and(|word| word.trim() == "ready")
        })
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(find_program(program, &program_folders()));
        command.current_dir(self.folder.path()).env("LC_ALL", "C");
        if let Some(user) = self.user {
            user.run(&mut command);
        }
        command
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
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

    /// Kills the server.
    pub fn kill9(&mut self) {
        self.server.kill9();
    }

    /// Starts it again on the same port with the same data, and waits until it is ready.
    ///
    /// # Panics
    ///
    /// When it does not start.
    pub fn restart(&mut self) {
        self.stop();
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
