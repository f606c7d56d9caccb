//! Redis for tests.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::Duration;

use uuid::Uuid;

use crate::certificates::{Authority, Certificate};
use crate::server::{Server, find_program, folder, free_port};

/// A key of its own on the Redis that all tests share.
pub struct TestRedis {
    url: String,
    key: String,
}

impl TestRedis {
    /// A key that nobody else uses; removed on drop.
    #[expect(clippy::new_without_default, reason = "it does more than a default")]
    pub fn new() -> Self {
        Self {
            url: shared_url().to_owned(),
            key: format!("audit:test:{}", Uuid::now_v7()),
        }
    }

    /// The server.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The key.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// A connection to look with.
    pub fn connection(&self) -> redis::Connection {
        connect(&self.url)
    }
}

impl Drop for TestRedis {
    fn drop(&mut self) {
        let _ = redis::cmd("DEL")
            .arg(&self.key)
            .arg(format!("{}:owner", self.key))
            .exec(&mut self.connection());
    }
}

fn shared_url() -> &'static str {
    static URL: OnceLock<String> = OnceLock::new();
    static OWN: OnceLock<RedisServer> = OnceLock::new();
    URL.get_or_init(|| {
        std::env::var("AUDIT_TEST_REDIS_URL")
            .unwrap_or_else(|_| OWN.get_or_init(|| RedisServer::start(&[])).url())
    })
}

fn connect(url: &str) -> redis::Connection {
    let client = redis::Client::open(url).expect("a Redis URL");
    client
        .get_connection_with_timeout(Duration::from_secs(60))
        .expect("Redis answers")
}

/// A Redis of a test's own, on a free port and in a temporary folder; killed on drop.
pub struct RedisServer {
    server: Server,
    port: u16,
    with_tls: bool,
    args: Vec<String>,
    folder: tempfile::TempDir,
}

impl RedisServer {
    /// Starts one with further arguments of `redis-server`, and waits until it is ready. Without
    /// any it saves nothing.
    ///
    /// # Panics
    ///
    /// When it does not start.
    pub fn start(args: &[&str]) -> Self {
        Self::start_in(folder(None), false, args)
    }

    /// As [`start`](Self::start), with TLS only: with this certificate, and with clients' certificates
    /// of this authority where it is to ask for them.
    ///
    /// # Panics
    ///
    /// When it does not start.
    pub fn start_with_tls(own: &Certificate, clients: Option<&Authority>, args: &[&str]) -> Self {
        let folder = folder(None);
        let write = |name: &str, pem: &str| {
            let path = folder.path().join(name);
            std::fs::write(&path, pem).expect("a file");
            path.display().to_string()
        };
        let certificate = write("own.pem", &own.pem);
        let key = write("own.key", &own.key);
        let authority = clients.map(|authority| write("clients.pem", authority.pem()));
        let mut all = vec!["--tls-cert-file", &certificate, "--tls-key-file", &key];
        match &authority {
            Some(file) => all.extend(["--tls-auth-clients", "yes", "--tls-ca-cert-file", file]),
            // It does not start without any authority, and asks nobody.
            None => all.extend([
                "--tls-auth-clients",
                "no",
                "--tls-ca-cert-file",
                &certificate,
            ]),
        }
        all.extend(args);
        Self::start_in(folder, true, &all)
    }

    fn start_in(folder: tempfile::TempDir, with_tls: bool, args: &[&str]) -> Self {
        let args = args.iter().map(|arg| arg.to_string()).collect();
        let mut redis = Self {
            server: Server::new(folder.path()),
            port: 0,
            with_tls,
            args,
            folder,
        };
        // Somebody may take the port between our look and the server's.
        let started = (0..5).any(|_| {
            redis.port = free_port();
            redis.launch()
        });
        assert!(started, "redis-server: {}", redis.server.log_text());
        redis
    }

    fn launch(&mut self) -> bool {
        let socket = self.socket();
        let _ = std::fs::remove_file(&socket);
        let mut command = Command::new(find_program("redis-server", &[]));
        let port = self.port.to_string();
        match self.with_tls {
            true => command.args(["--port", "0", "--tls-port", &port]),
            false => command.args(["--port", &port]),
        };
        command
            .args(["--bind", "127.0.0.1"])
            .args(["--save", "", "--daemonize", "no", "--unixsocket"])
            .arg(&socket)
            .arg("--dir")
            .arg(self.folder.path())
            .args(&self.args);
        self.server.start(&mut command, || is_ready(&socket))
    }

    /// The URL without a password.
    pub fn url(&self) -> String {
        let scheme = if self.with_tls { "rediss" } else { "redis" };
        format!("{scheme}://127.0.0.1:{}/", self.port)
    }

    fn socket(&self) -> PathBuf {
        self.folder.path().join("redis.sock")
    }

    /// The port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Where it keeps its data.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// A connection to look with, as long as no password is asked for.
    pub fn connection(&self) -> redis::Connection {
        match self.with_tls {
            true => connect(&format!("unix://{}", self.socket().display())),
            false => connect(&self.url()),
        }
    }

    /// Ends the server as an operator would.
    pub fn stop(&mut self) {
        self.server.stop("TERM");
    }

    /// Kills the server.
    pub fn kill9(&mut self) {
        self.server.kill9();
    }

    /// Makes the server silent: it keeps its connections and answers nothing.
    pub fn suspend(&self) {
        self.server.signal("STOP");
    }

    /// Ends [`suspend`](Self::suspend).
    pub fn resume(&self) {
        self.server.signal("CONT");
    }

    /// Starts it again on the same port with the same folder, and waits until it is ready.
    ///
    /// # Panics
    ///
    /// When it does not start.
    pub fn restart(&mut self) {
        self.server.stop("TERM");
        let started = (0..5).any(|_| self.launch());
        assert!(started, "redis-server: {}", self.server.log_text());
    }
}

/// Asks through the socket in the server's folder, which no other server can have.
fn is_ready(socket: &Path) -> bool {
    let answer = UnixStream::connect(socket).and_then(|mut stream| {
        stream.set_read_timeout(Some(Duration::from_secs(1)))?;
        stream.write_all(b"PING\r\n")?;
        let mut answer = [0; 5];
        stream.read_exact(&mut answer)?;
        Ok(answer)
    });
    matches!(answer.as_ref(), Ok(b"+PONG" | b"-NOAU"))
}
