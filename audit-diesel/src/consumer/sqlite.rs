//! Storing in SQLite.

mod in_turn;

use audit_core::Warning;
use chrono::{DateTime, Utc};
use diesel::SqliteConnection;
use diesel::prelude::*;
use diesel::result::{Error, QueryResult};
use uuid::Uuid;

use self::in_turn::in_turn;
use super::ConsumerError;
use super::backend::{AuditStore, Backend, Begun, Stored, TransactionStatus, missing_migration};
use super::probe::dropped;
use super::rights::{MissingRight, Right};
use crate::connection::RawConnection;
use crate::sqlite::{NewQuarantined, audit_logs, audit_quarantine, insert, insert_again};
use crate::store::{AuditLog, EntryToStore, QuarantinedRecord, Refused};

impl AuditStore for SqliteConnection {}

#[expect(private_interfaces, reason = "nobody outside can name it")]
impl Backend for SqliteConnection {
    /// Others cannot write meanwhile.
    const LARGEST_BATCH: usize = 200;

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

    fn missing_right(&mut self, _: &[Right]) -> QueryResult<Option<MissingRight>> {
        Ok(None)
    }

    /// The file is the same for each connection, and a database in memory would be gone.
    fn give_up(&mut self) {}

    fn warnings(&mut self) -> QueryResult<Vec<Warning>> {
        Ok(Vec::new())
    }

    fn was_closed(&mut self, _: &str) -> bool {
        // There is no other side.
        false
    }

    fn batch<T>(&mut self, run: impl FnOnce(&mut Self) -> QueryResult<T>) -> QueryResult<T> {
        in_turn(self, run)
    }

    /// SQLite lets one write at a time by itself.
    fn try_lock(&mut self, _key: i64) -> QueryResult<bool> {
        Ok(true)
    }

    /// A redelivered row costs no more than a new one.
    fn begin(&mut self, key: i64, _: Option<[Uuid; 2]>) -> QueryResult<Begun> {
        Ok(Begun {
            is_locked: self.try_lock(key)?,
            is_redelivered: false,
            is_as_declared: true,
        })
    }

    fn at_work(&mut self, _: i64) -> QueryResult<Option<String>> {
        Ok(None)
    }

    fn insert_new(&mut self, entries: &[&EntryToStore]) -> QueryResult<usize> {
        self.insert_rows(entries)
    }

    fn insert_rows(&mut self, entries: &[&EntryToStore]) -> QueryResult<usize> {
        insert(self, entries)
    }

    fn insert_again(&mut self, row: &EntryToStore) -> QueryResult<usize> {
        insert_again(self, row)
    }

    /// SQLite cannot be asked to.
    fn check_deferred(&mut self) -> QueryResult<()> {
        Ok(())
    }

    fn now(&mut self) -> QueryResult<DateTime<Utc>> {
        Ok(Utc::now())
    }

    fn quarantine(&mut self, refused: &[Refused]) -> QueryResult<Vec<Uuid>> {
        let mut new = Vec::new();
        for refused in refused {
            let inserted = diesel::insert_into(audit_quarantine::table)
                .values(NewQuarantined::new(refused))
                .on_conflict(audit_quarantine::id)
                .do_nothing()
                .execute(self)?;
            if inserted == 0 && self.quarantined(&[refused.id()])?.is_empty() {
                return Err(dropped());
            }
            new.extend((inserted > 0).then(|| refused.id()));
        }
        Ok(new)
    }

    fn quarantine_covertly(&mut self, refused: &Refused) -> QueryResult<Vec<Uuid>> {
        self.quarantine(std::slice::from_ref(refused))
    }

    fn bounded<T>(&mut self, run: impl FnOnce(&mut Self) -> QueryResult<T>) -> QueryResult<T> {
        self.transaction(run)
    }

    fn stored(&mut self, ids: &[Uuid]) -> QueryResult<Stored> {
        let stored = audit_logs::table.filter(audit_logs::id.eq_any(texts(ids)));
        let stored = stored.select((audit_logs::id, audit_logs::digest));
        let (ids, digests): (Vec<String>, Vec<_>) = stored
            .load::<(String, Option<Vec<u8>>)>(self)?
            .into_iter()
            .unzip();
        Ok(parsed(ids)?.into_iter().zip(digests).collect())
    }

    fn quarantined(&mut self, ids: &[Uuid]) -> QueryResult<Vec<Uuid>> {
        let held = audit_quarantine::table.filter(audit_quarantine::id.eq_any(texts(ids)));
        parsed(held.select(audit_quarantine::id).load(self)?)
    }

    fn server_identity(&mut self) -> QueryResult<Option<String>> {
        RawConnection::server_identity(self)
    }

    fn database_identity(&mut self) -> QueryResult<Option<String>> {
        RawConnection::database_identity(self)
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
