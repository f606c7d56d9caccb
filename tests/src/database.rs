//! Databases for tests.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use diesel::r2d2::{ConnectionManager, Pool};

use crate::PostgresServer;

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

/// A role of a test's own that can log in, without any rights; dropped with what it owns on drop.
pub struct TestRole {
    database: String,
    name: String,
}

impl TestRole {
    /// A new role on the server of this database.
    ///
    /// # Panics
    ///
    /// When it cannot be created.
    pub fn new(database: &TestDatabase) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let role = Self {
            database: database.url(),
            name: format!("audit_role_{}_{number}", std::process::id()),
        };
        role.admin(&format!("CREATE ROLE {} LOGIN", role.name))
            .expect("a new role");
        role
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The URL of the database as this role.
    pub fn url(&self) -> String {
        let (before, server) = self.database.split_once("postgres@").expect("a superuser");
        format!("{before}{}@{server}", self.name)
    }

    fn admin(&self, sql: &str) -> Result<(), Box<dyn std::error::Error>> {
        PgConnection::establish(&self.database)?.batch_execute(sql)?;
        Ok(())
    }
}

impl Drop for TestRole {
    fn drop(&mut self) {
        let _ = self.admin(&format!(
            "DROP OWNED BY {0} CASCADE; DROP ROLE {0}",
            self.name
        ));
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
