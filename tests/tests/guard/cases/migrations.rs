//! Diesel's migrations write as they like, and what follows them does not.

use audit_diesel::GuardMode;
use audit_tests::app::accounts;
use diesel::connection::SimpleConnection;
use diesel::migration::{Migration, MigrationSource};
use diesel::prelude::*;
use diesel_migrations::MigrationHarness;

use super::super::Backend;
use super::{guarded, raw_insert, stopped};

struct DataMigration(tempfile::TempDir);

impl DataMigration {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let one = folder.path().join("2026-01-01-000000_fill");
        std::fs::create_dir(&one).unwrap();
        std::fs::write(one.join("up.sql"), "UPDATE accounts SET role = 'migrated';").unwrap();
        std::fs::write(one.join("down.sql"), "UPDATE accounts SET role = 'member';").unwrap();
        Self(folder)
    }

    fn without_transaction() -> Self {
        let migration = Self::new();
        let metadata = migration
            .0
            .path()
            .join("2026-01-01-000000_fill/metadata.toml");
        std::fs::write(metadata, "run_in_transaction = false").unwrap();
        migration
    }
}

impl MigrationSource<Backend> for &DataMigration {
    fn migrations(&self) -> diesel::migration::Result<Vec<Box<dyn Migration<Backend>>>> {
        diesel_migrations::FileBasedMigrations::from_path(self.0.path())?.migrations()
    }
}

#[test]
fn migrations_write_as_they_like_and_what_follows_them_does_not() {
    let mut guarded = guarded(GuardMode::Panic);
    let conn = &mut guarded.conn;
    let migration = DataMigration::new();
    conn.run_pending_migrations(&migration).unwrap();
    conn.revert_last_migration(&migration).unwrap();
    assert!(stopped(conn, |conn| drop(raw_insert(conn))).is_some());
    conn.has_pending_migration(&migration).unwrap();
    let in_transaction = stopped(conn, |conn| {
        conn.transaction(raw_insert).unwrap();
    });
    assert!(in_transaction.is_some());
}

/// A test's transaction that begins right after the migrations never ends.
#[test]
fn a_transaction_right_after_migrations_is_guarded_at_once() {
    let mut guarded = guarded(GuardMode::Panic);
    let conn = &mut guarded.conn;
    conn.run_pending_migrations(&DataMigration::new()).unwrap();
    conn.begin_test_transaction().unwrap();
    assert!(stopped(conn, |conn| drop(raw_insert(conn))).is_some());
    // To ask for them is no migration.
    conn.has_pending_migration(&DataMigration::new()).unwrap();
    assert!(stopped(conn, |conn| drop(raw_insert(conn))).is_some());
}

#[test]
fn migrations_in_a_tests_transaction_write_as_they_like() {
    let mut guarded = guarded(GuardMode::Panic);
    let conn = &mut guarded.conn;
    let migration = DataMigration::new();
    conn.begin_test_transaction().unwrap();
    conn.run_pending_migrations(&migration).unwrap();
    conn.revert_last_migration(&migration).unwrap();
    assert!(stopped(conn, |conn| drop(raw_insert(conn))).is_some());
}

#[test]
fn migrations_without_a_transaction_write_as_they_like() {
    let mut guarded = guarded(GuardMode::Panic);
    let conn = &mut guarded.conn;
    let migration = DataMigration::without_transaction();
    conn.run_pending_migrations(&migration).unwrap();
    conn.revert_last_migration(&migration).unwrap();
    assert!(stopped(conn, |conn| drop(raw_insert(conn))).is_some());
    conn.run_pending_migrations(&migration).unwrap();
    let in_transaction = stopped(conn, |conn| {
        conn.transaction(raw_insert).unwrap();
    });
    assert!(in_transaction.is_some());
}

/// Whether a text is a migration is known with the next query.
#[test]
fn a_batch_right_after_migrations_is_guarded() {
    let mut guarded = guarded(GuardMode::Panic);
    let migration = DataMigration::new();
    for (batch, end) in [
        ("BEGIN; DELETE FROM accounts; COMMIT", ""),
        ("BEGIN; DELETE FROM accounts", "ROLLBACK"),
        ("DELETE FROM accounts", ""),
    ] {
        let conn = &mut guarded.conn;
        conn.run_pending_migrations(&migration).unwrap();
        conn.batch_execute(batch).unwrap();
        let message = stopped(conn, |conn| {
            drop(accounts::table.count().get_result::<i64>(conn));
        });
        assert!(message.is_some(), "{batch}");
        if !end.is_empty() {
            conn.batch_execute(end).unwrap();
        }
    }
    let conn = &mut guarded.conn;
    conn.run_pending_migrations(&migration).unwrap();
    conn.batch_execute("DELETE FROM accounts").unwrap();
    assert!(stopped(conn, |conn| conn.batch_execute("BEGIN").unwrap()).is_some());
}
