//! The servers' side of the measurements: one database, one Redis, a folder for journals.

use std::path::PathBuf;

use audit_diesel::{Auditor, RedisQueue};
use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use diesel::r2d2::{ConnectionManager, Pool};
use diesel_migrations::MigrationHarness;

use crate::Fallible;

pub(crate) type PgPool = Pool<ConnectionManager<PgConnection>>;

pub(crate) struct World {
    admin_url: String,
    database: String,
    redis_url: String,
    folder: tempfile::TempDir,
    /// Whether the database goes when this does.
    own: bool,
}

impl World {
    /// The world that another process has made.
    pub(crate) fn existing(database: &str) -> Fallible<Self> {
        Ok(Self {
            admin_url: variable("AUDIT_TEST_POSTGRES_URL")?,
            redis_url: variable("AUDIT_TEST_REDIS_URL")?,
            database: database.to_owned(),
            folder: tempfile::Builder::new().prefix("audit-bench-").tempdir()?,
            own: false,
        })
    }

    /// A database with the tables, rows and triggers of `sql/`.
    pub(crate) fn new() -> Fallible<Self> {
        let mut world = Self::existing(&format!("audit_bench_{}", std::process::id()))?;
        world.own = true;
        let mut admin = PgConnection::establish(&world.admin_url)?;
        admin.batch_execute(&format!(
            "CREATE DATABASE {} TEMPLATE template0",
            world.database
        ))?;
        let conn = &mut world.connection()?;
        conn.run_pending_migrations(audit_diesel::postgres::MIGRATIONS)
            .map_err(|error| error.to_string())?;
        conn.batch_execute(include_str!("../sql/tables.sql"))?;
        conn.batch_execute(include_str!("../sql/rows.sql"))?;
        conn.batch_execute("VACUUM (ANALYZE)")?;
        conn.batch_execute(include_str!("../sql/statement_trigger.sql"))?;
        conn.batch_execute(include_str!("../sql/row_trigger.sql"))?;
        Ok(world)
    }

    pub(crate) fn url(&self) -> String {
        let server = self.admin_url.rsplit_once('/').map_or("", |parts| parts.0);
        format!("{server}/{}", self.database)
    }

    pub(crate) fn database(&self) -> &str {
        &self.database
    }

    pub(crate) fn connection(&self) -> Fallible<PgConnection> {
        Ok(PgConnection::establish(&self.url())?)
    }

    pub(crate) fn pool(&self) -> Fallible<PgPool> {
        let manager = ConnectionManager::new(self.url());
        Ok(Pool::builder().max_size(4).build(manager)?)
    }

    pub(crate) fn redis(&self) -> Fallible<redis::Connection> {
        Ok(redis::Client::open(&*self.redis_url)?.get_connection()?)
    }

    /// A file of its own.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// As an application has it: a journal, and a thread that carries it on to Redis.
    pub(crate) fn auditor(&self, name: &str) -> Fallible<Auditor> {
        let journal = self.file(&format!("{name}.db"));
        let builder = Auditor::builder().redis_queue(self.list(name)?);
        Ok(builder.journal(journal).build()?)
    }

    /// Each call waits for Redis.
    pub(crate) fn auditor_without_journal(&self, name: &str) -> Fallible<Auditor> {
        let builder = Auditor::builder().redis_queue(self.list(name)?);
        Ok(builder.without_journal().build()?)
    }

    pub(crate) fn list(&self, name: &str) -> Fallible<RedisQueue> {
        let key = format!("{}:{name}", self.database);
        Ok(RedisQueue::builder(&*self.redis_url)
            .key(key)
            .owner("bench")
            .build()?)
    }

    /// A connection with the auditor.
    pub(crate) fn audited(&self, auditor: &Auditor) -> Fallible<PgConnection> {
        let mut conn = self.connection()?;
        auditor.attach(&mut conn);
        Ok(conn)
    }

    /// What measured, with the settings that matter.
    pub(crate) fn description(&self) -> Fallible<Vec<(String, String)>> {
        let conn = &mut self.connection()?;
        let mut lines = vec![
            (
                "audit-diesel".to_owned(),
                env!("CARGO_PKG_VERSION").to_owned(),
            ),
            (
                "processors".to_owned(),
                std::thread::available_parallelism()?.to_string(),
            ),
            ("processor".to_owned(), processor()),
        ];
        for setting in [
            "server_version",
            "fsync",
            "synchronous_commit",
            "full_page_writes",
            "wal_level",
            "shared_buffers",
        ] {
            let sql = format!("SELECT current_setting('{setting}') AS value");
            let row: Setting = diesel::sql_query(sql).get_result(conn)?;
            lines.push((format!("PostgreSQL {setting}"), row.value));
        }
        let redis = &mut self.redis()?;
        let info: redis::InfoDict = redis::cmd("INFO").arg("server").query(redis)?;
        let version: Option<String> = info.get("redis_version");
        lines.push(("Redis version".to_owned(), version.unwrap_or_default()));
        for setting in ["appendonly", "appendfsync", "save"] {
            let pair: (String, String) =
                redis::cmd("CONFIG").arg("GET").arg(setting).query(redis)?;
            lines.push((format!("Redis {setting}"), pair.1));
        }
        Ok(lines)
    }
}

#[derive(QueryableByName)]
struct Setting {
    #[diesel(sql_type = diesel::sql_types::Text)]
    value: String,
}

fn processor() -> String {
    let text = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let line = text.lines().find(|line| line.starts_with("model name"));
    let name = line.and_then(|line| line.split_once(": "));
    name.map_or_else(
        || std::env::consts::ARCH.to_owned(),
        |(_, name)| name.to_owned(),
    )
}

fn variable(name: &str) -> Fallible<String> {
    std::env::var(name).map_err(|_| format!("{name} is not set: run scripts/bench").into())
}

impl Drop for World {
    fn drop(&mut self) {
        if !self.own {
            return;
        }
        let sql = format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", self.database);
        if let Ok(mut admin) = PgConnection::establish(&self.admin_url) {
            let _ = admin.batch_execute(&sql);
        }
        if let Ok(mut redis) = self.redis() {
            let _ = redis::cmd("FLUSHALL").exec(&mut redis);
        }
    }
}
