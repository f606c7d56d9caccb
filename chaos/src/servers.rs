//! The servers of a run and the networks in front of them.

use std::path::PathBuf;
use std::time::Duration;

use audit_tests::{PostgresServer, RedisServer, TestDatabase};
use diesel::prelude::*;

use audit_tests::Proxy;

/// The newest file that Redis writes commands to: many of them since Redis 7.
///
/// # Panics
///
/// When there is none.
pub fn append_only_file(redis: &RedisServer) -> PathBuf {
    let files = std::fs::read_dir(redis.folder().join("appendonlydir"));
    let files = files.into_iter().flatten().flatten();
    let newest = files
        .map(|file| file.path())
        .filter(|path| path.to_string_lossy().ends_with(".incr.aof"))
        .max_by_key(|path| path.metadata().and_then(|m| m.modified()).ok());
    newest.unwrap_or_else(|| redis.folder().join("appendonly.aof"))
}

/// How long the lock of a consumer stays whose host has vanished, in milliseconds.
pub const ORPHANED_FOR_MS: u64 = 4_000;

fn url_through(proxy: &Proxy, database: &TestDatabase) -> String {
    let url = database.url();
    let (_, name) = url.rsplit_once('/').expect("URL/database");
    let port = proxy.port();
    format!("postgres://postgres@127.0.0.1:{port}/{name}?connect_timeout=2")
}

/// PostgreSQL and Redis, and the way to them.
pub struct Servers {
    pub postgres: PostgresServer,
    pub redis: RedisServer,
    pub to_postgres: Proxy,
    /// The consumers' way to PostgreSQL.
    pub to_store: Proxy,
    pub to_redis: Proxy,
    /// The key of the list.
    pub key: String,
    round: u32,
}

impl Servers {
    /// Starts both; Redis writes each command to its disk before it answers.
    pub fn start() -> Self {
        let postgres = PostgresServer::start();
        let redis = RedisServer::start(&["--appendonly", "yes", "--appendfsync", "always"]);
        Self {
            to_postgres: Proxy::start(postgres.port()),
            to_store: Proxy::start(postgres.port()),
            to_redis: Proxy::start(redis.port()),
            postgres,
            redis,
            key: String::new(),
            round: 0,
        }
    }

    /// An empty database for a round, and a Redis without anything in it. The list has another
    /// key each time: where the end of Redis' file is cut off, lists of before come back.
    pub fn database(&mut self) -> TestDatabase {
        self.round += 1;
        self.key = format!("audit:queue:{}", self.round);
        redis::cmd("FLUSHALL")
            .exec(&mut self.redis.connection())
            .expect("FLUSHALL");
        let database = TestDatabase::on(&self.postgres.url());
        crate::app::set_up(&mut database.connection());
        database
    }

    /// The database as the processes reach it.
    pub fn postgres_url(&self, database: &TestDatabase) -> String {
        url_through(&self.to_postgres, database)
    }

    /// The database as the consumers reach it. A transaction of theirs that nobody ends is ended by
    /// the server: sooner than the library would have it, so that a round sees the end.
    pub fn store_url(&self, database: &TestDatabase) -> String {
        let url = url_through(&self.to_store, database);
        format!("{url}&options=-c%20idle_in_transaction_session_timeout%3D{ORPHANED_FOR_MS}")
    }

    /// Redis as the processes reach it.
    pub fn redis_url(&self) -> String {
        format!("redis://127.0.0.1:{}/", self.to_redis.port())
    }

    /// How many payloads Redis holds, if it answers.
    pub fn queued(&self) -> Option<u64> {
        let client = redis::Client::open(self.redis.url()).ok()?;
        let mut connection = client
            .get_connection_with_timeout(Duration::from_secs(1))
            .ok()?;
        redis::cmd("LLEN")
            .arg(&self.key)
            .query(&mut connection)
            .ok()
    }

    /// Ends the backends that this condition on `pg_stat_activity` finds, and says how many.
    pub fn terminate(&self, condition: &str) -> u64 {
        let sql = format!(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
             WHERE pid <> pg_backend_pid() AND {condition}"
        );
        let ended = PgConnection::establish(&self.postgres.url()).and_then(|mut conn| {
            let ended = diesel::sql_query(sql).execute(&mut conn);
            ended.map_err(ConnectionError::CouldntSetupConfiguration)
        });
        ended.unwrap_or(0) as u64
    }
}
