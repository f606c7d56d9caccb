use std::sync::Arc;

use audit_diesel::{Consumer, ConsumerError, MemoryQueue};
use diesel::connection::SimpleConnection;
use diesel::migration::{Migration, MigrationSource};
use diesel::prelude::*;
use diesel_migrations::{FileBasedMigrations, MigrationHarness};

use super::trail::{MIGRATIONS, audit_logs, audit_quarantine};
use super::{Backend, Conn, NAME, app, empty};

/// The application's own migrations: two, with the versions that `diesel migration generate` makes.
fn own() -> (tempfile::TempDir, FileBasedMigrations) {
    let folder = tempfile::tempdir().unwrap();
    for (version, table) in [
        ("2020-01-01-000000", "first"),
        ("2020-01-02-000000", "second"),
    ] {
        let path = folder.path().join(format!("{version}_{table}"));
        std::fs::create_dir(&path).unwrap();
        let create = format!("CREATE TABLE {table} (id integer PRIMARY KEY)");
        std::fs::write(path.join("up.sql"), create).unwrap();
        std::fs::write(path.join("down.sql"), format!("DROP TABLE {table}")).unwrap();
    }
    let migrations = FileBasedMigrations::from_path(folder.path()).unwrap();
    (folder, migrations)
}

fn exists(conn: &mut Conn, table: &str) -> bool {
    conn.batch_execute(&format!("SELECT * FROM {table} LIMIT 0"))
        .is_ok()
}

fn ours() -> Box<dyn Migration<Backend>> {
    let mut all: Vec<Box<dyn Migration<Backend>>> = MIGRATIONS.migrations().unwrap();
    assert_eq!(all.len(), 1, "a further one needs further tests");
    all.remove(0)
}

#[test]
fn they_run_beside_the_applications_own_in_either_order() {
    for ours_first in [true, false] {
        let (mut conn, _database) = empty();
        let (_folder, own) = own();
        if ours_first {
            conn.run_pending_migrations(MIGRATIONS).unwrap();
        }
        conn.run_pending_migrations(own.clone()).unwrap();
        conn.run_pending_migrations(MIGRATIONS).unwrap();
        assert!(!conn.has_pending_migration(MIGRATIONS).unwrap());
        assert!(!conn.has_pending_migration(own.clone()).unwrap());
        // The last one is the application's, whatever ran last.
        let reverted = conn.revert_last_migration(own.clone()).unwrap();
        assert_eq!(reverted.to_string(), "20200102000000");
        assert!(exists(&mut conn, "audit_logs") && exists(&mut conn, "first"));
        assert!(!exists(&mut conn, "second"));
        conn.run_pending_migrations(own).unwrap();
        assert!(exists(&mut conn, "second"));
    }
}

#[test]
fn they_go_down_and_up_again() {
    let (mut conn, _database) = empty();
    let (_folder, own) = own();
    conn.run_pending_migrations(own).unwrap();
    for _ in 0..2 {
        conn.run_pending_migrations(MIGRATIONS).unwrap();
        assert!(exists(&mut conn, "audit_logs") && exists(&mut conn, "audit_quarantine"));
        conn.revert_migration(&ours()).unwrap();
        assert!(!exists(&mut conn, "audit_logs") && !exists(&mut conn, "audit_quarantine"));
        assert!(exists(&mut conn, "first"));
    }
}

#[test]
fn a_trail_that_has_rows_is_not_reverted() {
    for (fill, empty) in [
        (
            "INSERT INTO audit_logs (id, occurred_at, action, outcome)
             VALUES ('018f0000-0000-7000-8000-000000000000', '2026-01-01', 'a', 'success')",
            "DELETE FROM audit_logs",
        ),
        (
            "INSERT INTO audit_quarantine (id, reason, payload)
             VALUES ('018f0000-0000-7000-8000-000000000000', 'r', '')",
            "DELETE FROM audit_quarantine",
        ),
    ] {
        let app = app();
        let conn = &mut app.pool.get().unwrap();
        conn.batch_execute(fill).unwrap();
        let error = conn.revert_migration(&ours()).unwrap_err().to_string();
        assert!(error.contains("the audit trail has rows"), "{error}");
        let rows = |conn: &mut Conn| -> i64 {
            let logs: i64 = audit_logs::table.count().get_result(conn).unwrap();
            logs + audit_quarantine::table
                .count()
                .get_result::<i64>(conn)
                .unwrap()
        };
        assert_eq!(rows(conn), 1);
        // As it was: nothing of the attempt is left.
        conn.batch_execute(empty).unwrap();
        conn.revert_migration(&ours()).unwrap();
        assert!(!exists(conn, "audit_logs") && !exists(conn, "audit_quarantine"));
    }
}

#[test]
fn the_tables_are_as_diesel_declares_them() {
    let app = app();
    let conn = &mut app.pool.get().unwrap();
    let logs: i64 = audit_logs::table.count().get_result(conn).unwrap();
    let quarantined: i64 = audit_quarantine::table.count().get_result(conn).unwrap();
    assert_eq!((logs, quarantined), (0, 0));
}

#[test]
fn a_missing_migration_is_named_with_what_to_run() {
    for (sql, named, said) in [
        ("ALTER TABLE audit_logs RENAME TO away", "audit_logs", ""),
        (
            "ALTER TABLE audit_quarantine RENAME TO away",
            "audit_quarantine",
            "",
        ),
        (
            "ALTER TABLE audit_logs RENAME COLUMN ip TO away",
            "audit_logs",
            "ip",
        ),
        (
            "ALTER TABLE audit_quarantine RENAME COLUMN reason TO away",
            "audit_quarantine",
            "reason",
        ),
    ] {
        let app = app();
        app.pool.get().unwrap().batch_execute(sql).unwrap();
        let queue = Arc::new(MemoryQueue::new());
        let error = Consumer::builder(queue, app.pool.clone())
            .spawn()
            .unwrap_err();
        match &error {
            ConsumerError::MissingMigration { table, reason, .. } => {
                assert_eq!(*table, named);
                assert!(reason.contains(said), "{reason}");
            }
            other => panic!("{other}"),
        }
        let run = format!("run_pending_migrations(audit_diesel::{NAME}::MIGRATIONS)");
        assert!(error.to_string().contains(&run), "{error}");
    }
}
