//! Storing in PostgreSQL.

use diesel::PgConnection;
use diesel::prelude::*;
use diesel::result::QueryResult;
use diesel::sql_types::*;

use super::refusal::is_outage;
use super::store::{self, AuditStore, Backend, BatchToStore, StoredBatch, TransactionStatus};
use super::{ConsumerError, store::missing_migration};
use crate::postgres::{
    NewAuditLog, NewQuarantined, ROWS_A_STATEMENT, audit_logs, audit_quarantine,
};
use crate::store::{AuditLog, EntryToStore, QuarantinedRecord, Refused};

#[diesel::declare_sql_function]
extern "SQL" {
    fn pg_try_advisory_xact_lock(key: BigInt) -> Bool;
    fn txid_status(xid: BigInt) -> Nullable<Text>;
}

impl AuditStore for PgConnection {
    fn check_tables(conn: &mut Self) -> Result<(), ConsumerError> {
        audit_logs::table
            .select(AuditLog::as_select())
            .limit(0)
            .load(conn)
            .map_err(missing_migration("audit_logs", "postgres"))?;
        audit_quarantine::table
            .select(QuarantinedRecord::as_select())
            .limit(0)
            .load(conn)
            .map_err(missing_migration("audit_quarantine", "postgres"))?;
        Ok(())
    }

    fn store(conn: &mut Self, batch: BatchToStore) -> QueryResult<StoredBatch> {
        store::store(conn, batch)
    }
}

impl Backend for PgConnection {
    fn batch<T>(&mut self, run: impl FnOnce(&mut Self) -> QueryResult<T>) -> QueryResult<T> {
        self.transaction(run)
    }

    fn try_lock(&mut self, key: i64) -> QueryResult<bool> {
        diesel::select(pg_try_advisory_xact_lock(key)).get_result(self)
    }

    fn insert_new(&mut self, entries: &[&EntryToStore]) -> QueryResult<usize> {
        let rows: Vec<_> = entries.iter().map(|e| NewAuditLog::new(e)).collect();
        diesel::copy_from(audit_logs::table)
            .from_insertable(&rows)
            .execute(self)
    }

    fn insert_missing(&mut self, entries: &[&EntryToStore]) -> QueryResult<usize> {
        let mut stored = 0;
        for entries in entries.chunks(ROWS_A_STATEMENT) {
            let rows: Vec<_> = entries.iter().map(|e| NewAuditLog::new(e)).collect();
            stored += diesel::insert_into(audit_logs::table)
                .values(&rows)
                .on_conflict_do_nothing()
                .execute(self)?;
        }
        Ok(stored)
    }

    fn quarantine(&mut self, refused: &[Refused]) -> QueryResult<usize> {
        let rows: Vec<_> = refused.iter().map(NewQuarantined::new).collect();
        diesel::insert_into(audit_quarantine::table)
            .values(&rows)
            .on_conflict_do_nothing()
            .execute(self)
    }

    fn transaction_status(&mut self, xid: i64) -> QueryResult<TransactionStatus> {
        // An id that this server has not given out yet is an error: another server's transaction.
        let status = self.transaction(|conn| {
            diesel::select(txid_status(xid)).get_result::<Option<String>>(conn)
        });
        Ok(match status {
            Ok(status) => match status.as_deref() {
                Some("committed") => TransactionStatus::Committed,
                Some("aborted") => TransactionStatus::Aborted,
                Some("in progress") => TransactionStatus::InProgress,
                _ => TransactionStatus::Unknown,
            },
            Err(error) if is_outage(&error) => return Err(error),
            Err(_) => TransactionStatus::Unknown,
        })
    }
}
