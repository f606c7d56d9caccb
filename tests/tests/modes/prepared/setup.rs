//! An application whose auditor prepares, and what the cases say in few words.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use audit_diesel::{AuditLog, Auditor, AuditorBuilder, Consumer, Delivery, Journal, audited};
use audit_tests::app::{NewAccount, accounts, postgres};
use audit_tests::{pg_pool, wait_until};
use diesel::connection::SimpleConnection;
use diesel::dsl::sql;
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Bool, Integer, Text};
use tempfile::TempDir;

pub(crate) use audit_tests::app::postgres::{Conn, app_on, trail};

pub(crate) use audit_tests::LONG;

pub(crate) struct Setup {
    pub(crate) app: postgres::App,
    pub(crate) folder: TempDir,
}

impl Setup {
    pub(crate) fn new() -> Self {
        Self::of(postgres::app())
    }

    pub(crate) fn of(app: postgres::App) -> Self {
        let folder = TempDir::new().unwrap();
        Self { app, folder }
    }

    pub(crate) fn journal_path(&self) -> PathBuf {
        self.folder.path().join("journal.db")
    }

    pub(crate) fn auditor(&self) -> Auditor {
        builder(&self.app.guard.url(), &self.journal_path())
            .build()
            .unwrap()
    }

    /// A connection that the auditor is attached to.
    pub(crate) fn connection(&self, auditor: &Auditor) -> Conn {
        let mut conn = self.app.guard.connection();
        auditor.attach(&mut conn);
        conn
    }

    pub(crate) fn journal(&self) -> Journal {
        Journal::builder(self.journal_path()).open().unwrap()
    }

    /// How many records stand in the journal's file before their transaction has ended.
    pub(crate) fn prepared(&self) -> i64 {
        let path = self.journal_path();
        let mut conn = SqliteConnection::establish(path.to_str().unwrap()).unwrap();
        conn.batch_execute("PRAGMA busy_timeout = 120000").unwrap();
        let count = sql::<BigInt>("count(*) FROM audit_journal_prepared");
        diesel::select(count).get_result(&mut conn).unwrap()
    }

    /// How many of them are of the insert of this address.
    pub(crate) fn prepared_for(&self, email: &str) -> i64 {
        let path = self.journal_path();
        let mut conn = SqliteConnection::establish(path.to_str().unwrap()).unwrap();
        conn.batch_execute("PRAGMA busy_timeout = 10000").unwrap();
        let count = sql::<BigInt>(
            "count(*) FROM audit_journal_prepared WHERE instr(CAST(payload AS TEXT), ",
        )
        .bind::<Text, _>(format!("\"{email}\""))
        .sql(") > 0");
        diesel::select(count).get_result(&mut conn).unwrap()
    }

    /// A record whose transaction was rolled back by the server, as of a process that is gone:
    /// once a process has taken it back, it has looked at all that are older.
    pub(crate) fn leave_rolled_back(&self, email: &str) {
        let auditor = self.auditor();
        let mut conn = self.connection(&auditor);
        conn.batch_execute("BEGIN").unwrap();
        insert(&mut conn, email).unwrap();
        assert_eq!(self.prepared_for(email), 1);
        let backend = backend_of(&mut conn);
        terminate(&mut self.app.guard.connection(), backend);
        // Its process knows nothing of that, and will not say what became of it.
        std::mem::forget(conn);
    }

    pub(crate) fn wait_until_settled(&self) {
        wait_until("everything is settled", LONG, || self.prepared() == 0);
    }

    /// Keeps everybody else from writing to the journal.
    pub(crate) fn lock_journal(&self) -> SqliteConnection {
        let path = self.journal_path();
        let mut conn = SqliteConnection::establish(path.to_str().unwrap()).unwrap();
        conn.batch_execute("PRAGMA busy_timeout = 120000; BEGIN IMMEDIATE")
            .unwrap();
        conn
    }

    /// Stores what is in the queue.
    pub(crate) fn consume(&self, auditor: &Auditor) {
        let pool = pg_pool(&self.app.guard.url());
        let consumer = Consumer::builder(auditor.queue(), pool).spawn().unwrap();
        consumer.flush().unwrap();
        consumer.stop().unwrap();
    }

    /// Settles and stores everything, and asserts that the table holds what is expected, and the
    /// trail the same.
    pub(crate) fn assert_trail(&self, auditor: &Auditor, expected: &[&str]) {
        self.wait_until_settled();
        self.consume(auditor);
        let conn = &mut self.app.guard.connection();
        assert_eq!(emails(conn), expected, "the table");
        assert_eq!(recorded(conn), expected, "the trail");
        assert_eq!(self.journal().bytes().unwrap(), 0, "room was given back");
        assert_eq!(quarantined(conn), [""; 0]);
    }
}

pub(crate) fn builder(url: &str, journal: &Path) -> AuditorBuilder {
    Auditor::builder()
        .journal(journal)
        .confirm_in(pg_pool(url))
        .delivery(Delivery::Prepared)
}

pub(crate) fn insert(conn: &mut Conn, email: &str) -> QueryResult<usize> {
    audited::insert_into(accounts::table)
        .values(NewAccount::new(email))
        .execute(conn)
}

pub(crate) fn emails(conn: &mut Conn) -> Vec<String> {
    accounts::table
        .select(accounts::email)
        .order(accounts::id)
        .load(conn)
        .unwrap()
}

/// The addresses that the trail says were added, in the order of the rows.
pub(crate) fn recorded(conn: &mut Conn) -> Vec<String> {
    let rows: Vec<AuditLog> = trail::audit_logs::table
        .select(AuditLog::as_select())
        .load(conn)
        .unwrap();
    let mut added: Vec<(i32, String)> = rows
        .iter()
        .filter(|row| row.action == "insert")
        .map(|row| {
            let changes = row.changes.as_ref().unwrap();
            let email = changes["email"]["new"].as_str().unwrap().to_owned();
            (row.resource_id.as_ref().unwrap().parse().unwrap(), email)
        })
        .collect();
    added.sort();
    let different: BTreeSet<_> = added.iter().collect();
    assert_eq!(different.len(), added.len(), "stored twice");
    added.into_iter().map(|(_, email)| email).collect()
}

pub(crate) fn quarantined(conn: &mut Conn) -> Vec<String> {
    let reasons = sql::<Text>("reason FROM audit_quarantine");
    diesel::select(reasons).load(conn).unwrap()
}

pub(crate) fn backend_of(conn: &mut Conn) -> i32 {
    diesel::select(sql::<Integer>("pg_backend_pid()"))
        .get_result(conn)
        .unwrap()
}

/// Whether PostgreSQL answers this condition with true.
pub(crate) fn holds(conn: &mut Conn, condition: &str) -> bool {
    diesel::select(sql::<Bool>(condition))
        .get_result(conn)
        .unwrap()
}

pub(crate) fn terminate(conn: &mut Conn, backend: i32) {
    assert!(holds(
        conn,
        &format!("pg_terminate_backend({backend}, 10000)")
    ));
}

/// Makes the COMMIT of an insert wait for the advisory lock 1.
pub(crate) const HANG_IN_COMMIT: &str = "
    CREATE FUNCTION hang() RETURNS trigger LANGUAGE plpgsql AS
        'BEGIN PERFORM pg_advisory_xact_lock(1); RETURN NULL; END';
    CREATE CONSTRAINT TRIGGER hang AFTER INSERT ON accounts
        DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION hang();
";
