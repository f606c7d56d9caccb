//! Storing in SQLite.

use audit_core::Warning;
use diesel::SqliteConnection;
use diesel::prelude::*;
use diesel::result::{Error, QueryResult};
use uuid::Uuid;

use super::store::{AuditStore, Backend, TransactionStatus};
use super::{ConsumerError, store::missing_migration};
use crate::connection::RawConnection;
use crate::sqlite::{NewAuditLog, NewQuarantined, audit_logs, audit_quarantine};
use crate::store::{AuditLog, EntryToStore, QuarantinedRecord, Refused};

impl AuditStore for SqliteConnection {}

#[expect(private_interfaces, reason = "nobody outside can name it")]
impl Backend for SqliteConnection {
    fn check_tables(&mut self) -> Result<(), ConsumerError> {
        audit_logs::table
            .select(AuditLog::as_select())
            .limit(0)
            .load(self)
            .map_err(missing_migration("audit_logs", "sqlite"))?;
        audit_quarantine::table
            .select(QuarantinedRecord::as_select())
            .limit(0)
            .load(self)
            .map_err(missing_migration("audit_quarantine", "sqlite"))?;
        Ok(())
    }

    fn warnings(&mut self) -> QueryResult<Vec<Warning>> {
        Ok(Vec::new())
    }

    fn was_closed(&mut self, _: &str) -> bool {
        // There is no other side.
        false
    }

    /// Takes the write lock at once: SQLite lets one transaction write at a time.
    fn batch<T>(&mut self, run: impl FnOnce(&mut Self) -> QueryResult<T>) -> QueryResult<T> {
        self.immediate_transaction(run)
    }

    fn try_lock(&mut self, _key: i64) -> QueryResult<bool> {
        Ok(true)
    }

    /// A redelivered row costs no more than a new one.
    fn try_lock_and_look(&mut self, key: i64, _: [Uuid; 2]) -> QueryResult<(bool, bool)> {
        Ok((self.try_lock(key)?, false))
    }

    fn insert_new(&mut self, entries: &[&EntryToStore]) -> QueryResult<usize> {
        self.insert_missing(entries)
    }

    fn insert_missing(&mut self, entries: &[&EntryToStore]) -> QueryResult<usize> {
        let mut stored = 0;
        for entry in entries {
            stored += diesel::insert_into(audit_logs::table)
                .values(NewAuditLog::new(entry))
                .on_conflict_do_nothing()
                .execute(self)?;
        }
        Ok(stored)
    }

    fn quarantine(&mut self, refused: &[Refused]) -> QueryResult<usize> {
        let mut quarantined = 0;
        for refused in refused {
            quarantined += diesel::insert_into(audit_quarantine::table)
                .values(NewQuarantined::new(refused))
                .on_conflict_do_nothing()
                .execute(self)?;
        }
        Ok(quarantined)
    }

    fn quarantine_covertly(&mut self, refused: &Refused) -> QueryResult<usize> {
        self.quarantine(std::slice::from_ref(refused))
    }

    fn bounded<T>(&mut self, run: impl FnOnce(&mut Self) -> QueryResult<T>) -> QueryResult<T> {
        self.transaction(run)
    }

    fn stored(&mut self, ids: &[Uuid]) -> QueryResult<Vec<Uuid>> {
        let stored = audit_logs::table.filter(audit_logs::id.eq_any(texts(ids)));
        parsed(stored.select(audit_logs::id).load(self)?)
    }

    fn quarantined(&mut self, ids: &[Uuid]) -> QueryResult<Vec<Uuid>> {
        let held = audit_quarantine::table.filter(audit_quarantine::id.eq_any(texts(ids)));
        parsed(held.select(audit_quarantine::id).load(self)?)
    }

    fn server_identity(&mut self) -> QueryResult<Option<String>> {
        RawConnection::server_identity(self)
    }

    /// SQLite's COMMIT cannot be lost halfway: nothing is in doubt.
    fn transaction_status(&mut self, _xid: i64) -> QueryResult<TransactionStatus> {
        Ok(TransactionStatus::Unknown)
    }

    fn transaction_statuses(
        &mut self,
        _xids: &[i64],
    ) -> QueryResult<Vec<(i64, TransactionStatus)>> {
        Ok(Vec::new())
    }

    fn crashed_since(&mut self, _micros: i64) -> QueryResult<bool> {
        Ok(false)
    }
}

fn texts(ids: &[Uuid]) -> Vec<String> {
    ids.iter().map(Uuid::to_string).collect()
}

fn parsed(texts: Vec<String>) -> QueryResult<Vec<Uuid>> {
    let ids = texts.iter().map(|text| text.parse::<Uuid>());
    ids.collect::<Result<_, _>>()
        .map_err(|error| Error::DeserializationError(error.into()))
}
