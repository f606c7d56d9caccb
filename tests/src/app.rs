//! A small application to test with: one audited table, on PostgreSQL and on SQLite.
//!
//! Tests that hold for both are written once, in a `cases.rs` that two modules include: see
//! `tests/statements`.

use audit_diesel::{Auditable, Auditor, MemoryQueue, Record};
use chrono::NaiveDateTime;
use diesel::prelude::*;
use diesel::r2d2::{ConnectionManager, Pool, R2D2Connection};

diesel::table! {
    accounts (id) {
        id -> Integer,
        email -> Text,
        role -> Text,
        balance -> BigInt,
        note -> Nullable<Text>,
        api_token -> Text,
        updated_at -> Timestamp,
    }
}

/// The audited model.
#[derive(Debug, Clone, PartialEq, Queryable, Selectable, Identifiable, AsChangeset, Auditable)]
#[diesel(table_name = accounts)]
pub struct Account {
    pub id: i32,
    pub email: String,
    pub role: String,
    pub balance: i64,
    pub note: Option<String>,
    #[audit(redact)]
    pub api_token: String,
    pub updated_at: NaiveDateTime,
}

/// A new row; the database fills in the rest.
#[derive(Debug, Clone, Insertable)]
#[diesel(table_name = accounts)]
pub struct NewAccount<'a> {
    pub email: &'a str,
    pub api_token: &'a str,
}

impl<'a> NewAccount<'a> {
    /// An account with this address.
    pub fn new(email: &'a str) -> Self {
        Self {
            email,
            api_token: "token-of-a-new-account",
        }
    }
}

/// The application: its database, with the audit tables in it, and its auditor.
pub struct App<C: R2D2Connection + 'static, Guard> {
    /// Connections with the auditor attached.
    pub pool: Pool<ConnectionManager<C>>,
    /// The auditor, which pushes to `queue`.
    pub auditor: Auditor,
    /// Where the records are, until somebody takes them.
    pub queue: MemoryQueue,
    /// What lives as long as the application: its database.
    pub guard: Guard,
}

impl<C: R2D2Connection + 'static, Guard> App<C, Guard> {
    /// The records that left so far, oldest first.
    ///
    /// # Panics
    ///
    /// When one cannot be read.
    pub fn records(&self) -> Vec<Record> {
        self.queue.records().expect("the queue holds records only")
    }

    /// The records that left so far, as `action resource_type resource_id changes`.
    pub fn trail(&self) -> Vec<String> {
        self.records().iter().map(line).collect()
    }
}

/// A record in one line with the very JSON of its changes, which `testing::line` makes readable.
pub fn line(record: &Record) -> String {
    let changes = record.changes.as_ref().map_or("-", |c| c.as_json());
    format!(
        "{} {} {} {changes}",
        record.action,
        record.resource_type.as_deref().unwrap_or("-"),
        record.resource_id.as_deref().unwrap_or("-"),
    )
}

/// The application on PostgreSQL.
pub mod postgres {
    use audit_diesel::{Auditor, MemoryQueue};
    use diesel::connection::SimpleConnection;
    use diesel::r2d2::Pool;
    use diesel_migrations::MigrationHarness;

    pub use audit_diesel::postgres as trail;
    pub use diesel::PgConnection as Conn;
    pub use diesel::pg::Pg as Backend;

    use crate::TestDatabase;

    /// The application on this backend.
    pub type App = super::App<Conn, TestDatabase>;

    /// A fresh database with the application's table and the audit tables.
    ///
    /// # Panics
    ///
    /// When it cannot be made.
    pub fn app() -> App {
        app_on(TestDatabase::new())
    }

    /// As [`app`], in this empty database.
    ///
    /// # Panics
    ///
    /// When it cannot be made.
    pub fn app_on(database: TestDatabase) -> App {
        let queue = MemoryQueue::new();
        let auditor = Auditor::builder().queue(queue.clone()).build().unwrap();
        let pool = Pool::builder()
            .max_size(20)
            .min_idle(Some(0))
            .connection_customizer(auditor.customizer())
            .build(diesel::r2d2::ConnectionManager::<Conn>::new(database.url()))
            .unwrap();
        let mut conn = pool.get().unwrap();
        conn.batch_execute(
            "CREATE TABLE accounts (
                 id serial PRIMARY KEY,
                 email text NOT NULL UNIQUE DEFAULT 'nobody@example.com',
                 role text NOT NULL DEFAULT 'member',
                 balance bigint NOT NULL DEFAULT 0 CHECK (balance >= 0),
                 note text,
                 api_token text NOT NULL DEFAULT 'default-token',
                 updated_at timestamp NOT NULL DEFAULT '2026-01-01 00:00:00'
             )",
        )
        .unwrap();
        conn.run_pending_migrations(trail::MIGRATIONS).unwrap();
        drop(conn);
        App {
            pool,
            auditor,
            queue,
            guard: database,
        }
    }
}

/// The application on SQLite.
pub mod sqlite {
    use audit_diesel::{Auditor, MemoryQueue};
    use diesel::connection::SimpleConnection;
    use diesel::r2d2::{self, CustomizeConnection, Pool};
    use diesel_migrations::MigrationHarness;

    pub use audit_diesel::sqlite as trail;
    pub use diesel::SqliteConnection as Conn;
    pub use diesel::sqlite::Sqlite as Backend;

    /// The application on this backend.
    pub type App = super::App<Conn, tempfile::TempDir>;

    #[derive(Debug)]
    struct Pragmas;

    impl CustomizeConnection<Conn, r2d2::Error> for Pragmas {
        fn on_acquire(&self, conn: &mut Conn) -> Result<(), r2d2::Error> {
            conn.batch_execute("PRAGMA busy_timeout = 120000; PRAGMA journal_mode = WAL;")
                .map_err(r2d2::Error::QueryError)
        }
    }

    /// A fresh database with the application's table and the audit tables.
    ///
    /// # Panics
    ///
    /// When it cannot be made.
    pub fn app() -> App {
        let folder = tempfile::tempdir().unwrap();
        let queue = MemoryQueue::new();
        let auditor = Auditor::builder().queue(queue.clone()).build().unwrap();
        let path = folder.path().join("app.db").display().to_string();
        let pool = Pool::builder()
            .max_size(20)
            .min_idle(Some(0))
            .connection_customizer(auditor.customizer().after(Box::new(Pragmas)))
            .build(r2d2::ConnectionManager::<Conn>::new(path))
            .unwrap();
        let mut conn = pool.get().unwrap();
        conn.batch_execute(
            "CREATE TABLE accounts (
                 id integer NOT NULL PRIMARY KEY AUTOINCREMENT,
                 email text NOT NULL UNIQUE DEFAULT 'nobody@example.com',
                 role text NOT NULL DEFAULT 'member',
                 balance bigint NOT NULL DEFAULT 0 CHECK (balance >= 0),
                 note text,
                 api_token text NOT NULL DEFAULT 'default-token',
                 updated_at timestamp NOT NULL DEFAULT '2026-01-01 00:00:00'
             )",
        )
        .unwrap();
        conn.run_pending_migrations(trail::MIGRATIONS).unwrap();
        drop(conn);
        App {
            pool,
            auditor,
            queue,
            guard: folder,
        }
    }
}
