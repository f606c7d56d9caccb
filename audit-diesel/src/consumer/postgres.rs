//! Storing in PostgreSQL.

use ::uuid::Uuid;
use audit_core::Warning;
use diesel::PgConnection;
use diesel::connection::SimpleConnection;
use diesel::dsl::{exists, sql};
use diesel::prelude::*;
use diesel::r2d2::R2D2Connection;
use diesel::result::QueryResult;
use diesel::sql_types::{Array, BigInt, Binary, Bool, Nullable, Text};

use super::refusal::is_outage;
use super::store::{AuditStore, Backend, TransactionStatus};
use super::{ConsumerError, store::missing_migration};
use crate::connection::RawConnection;
use crate::postgres::{
    NewAuditLog, NewQuarantined, ROWS_A_STATEMENT, audit_logs, audit_quarantine,
};
use crate::store::{AuditLog, EntryToStore, QuarantinedRecord, Refused};

/// A piece of a payload that must not be recognised: less than anything on the way refuses.
const COVERT_BYTES: usize = 4 << 10;

#[diesel::declare_sql_function]
extern "SQL" {
    fn pg_try_advisory_xact_lock(key: BigInt) -> Bool;
    fn txid_status(xid: BigInt) -> Nullable<Text>;
}

impl AuditStore for PgConnection {}

#[expect(private_interfaces, reason = "nobody outside can name it")]
impl Backend for PgConnection {
    fn check_tables(&mut self) -> Result<(), ConsumerError> {
        audit_logs::table
            .select(AuditLog::as_select())
            .limit(0)
            .load(self)
            .map_err(missing_migration("audit_logs", "postgres"))?;
        audit_quarantine::table
            .select(QuarantinedRecord::as_select())
            .limit(0)
            .load(self)
            .map_err(missing_migration("audit_quarantine", "postgres"))?;
        Ok(())
    }

    fn warnings(&mut self) -> QueryResult<Vec<Warning>> {
        let is_off = |name: &'static str| {
            sql::<Bool>("current_setting(")
                .bind::<Text, _>(name)
                .sql(") = 'off'")
        };
        let names = ["fsync", "full_page_writes", "synchronous_commit"];
        let [fsync, full_page_writes, synchronous_commit] = names.map(is_off);
        let off: (bool, bool, bool) =
            diesel::select((fsync, full_page_writes, synchronous_commit)).get_result(self)?;
        let risks = [
            (off.0, "fsync", "loses or damages its data in a power cut"),
            (off.1, "full_page_writes", "may be damaged in a power cut"),
            (
                off.2,
                "synchronous_commit",
                "loses its last transactions in a power cut or a crash",
            ),
        ];
        let risks = risks.into_iter().filter(|(off, ..)| *off);
        Ok(risks
            .map(|(_, setting, risk)| {
                Warning::new(
                    "the PostgreSQL that stores audit records",
                    format!("has {setting} = off, and {risk}"),
                    format!("set {setting} = on"),
                )
            })
            .collect())
    }

    fn was_closed(&mut self, problem: &str) -> bool {
        // What ran into a time-out was closed on this side: nobody answers.
        self.is_broken() && !problem.contains("timed out")
    }

    fn batch<T>(&mut self, run: impl FnOnce(&mut Self) -> QueryResult<T>) -> QueryResult<T> {
        self.transaction(run)
    }

    fn try_lock(&mut self, key: i64) -> QueryResult<bool> {
        diesel::select(pg_try_advisory_xact_lock(key)).get_result(self)
    }

    /// In one round trip. Each record is looked for by itself, so that the statement's plan does
    /// not depend on the table's size.
    fn try_lock_and_look(&mut self, key: i64, records: [Uuid; 2]) -> QueryResult<(bool, bool)> {
        let [first, last] = records.map(|id| exists(audit_logs::table.find(id)));
        diesel::select((pg_try_advisory_xact_lock(key), first.or(last))).get_result(self)
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
        let mut quarantined = 0;
        for refused in refused.chunks(ROWS_A_STATEMENT) {
            let rows: Vec<_> = refused.iter().map(NewQuarantined::new).collect();
            quarantined += diesel::insert_into(audit_quarantine::table)
                .values(&rows)
                .on_conflict_do_nothing()
                .execute(self)?;
        }
        Ok(quarantined)
    }

    fn quarantine_covertly(&mut self, refused: &Refused) -> QueryResult<usize> {
        let id = refused.id();
        let inserted = diesel::insert_into(audit_quarantine::table)
            .values((
                audit_quarantine::id.eq(id),
                audit_quarantine::reason.eq(&refused.reason),
                audit_quarantine::payload.eq(Vec::new()),
            ))
            .on_conflict_do_nothing()
            .execute(self)?;
        if inserted == 0 {
            return Ok(0);
        }
        for piece in refused.payload.as_bytes().chunks(COVERT_BYTES) {
            let hex: String = piece.iter().map(|byte| format!("{byte:02x}")).collect();
            let appended = sql::<Binary>("payload || decode(")
                .bind::<Text, _>(hex)
                .sql(", 'hex')");
            diesel::update(audit_quarantine::table.find(id))
                .set(audit_quarantine::payload.eq(appended))
                .execute(self)?;
        }
        Ok(1)
    }

    fn bounded<T>(&mut self, run: impl FnOnce(&mut Self) -> QueryResult<T>) -> QueryResult<T> {
        self.transaction(|conn| {
            conn.batch_execute("SET LOCAL statement_timeout = 3000")?;
            run(conn)
        })
    }

    fn stored(&mut self, ids: &[Uuid]) -> QueryResult<Vec<Uuid>> {
        let stored = audit_logs::table.filter(audit_logs::id.eq_any(ids));
        stored.select(audit_logs::id).load(self)
    }

    fn quarantined(&mut self, ids: &[Uuid]) -> QueryResult<Vec<Uuid>> {
        let held = audit_quarantine::table.filter(audit_quarantine::id.eq_any(ids));
        held.select(audit_quarantine::id).load(self)
    }

    fn server_identity(&mut self) -> QueryResult<Option<String>> {
        RawConnection::server_identity(self)
    }

    fn transaction_status(&mut self, xid: i64) -> QueryResult<TransactionStatus> {
        // An id that this server has not given out yet is an error: another server's transaction.
        let status = self.transaction(|conn| {
            diesel::select(txid_status(xid)).get_result::<Option<String>>(conn)
        });
        match status {
            Ok(status) => Ok(status_of(status)),
            Err(error) if is_outage(&error) => Err(error),
            Err(_) => Ok(TransactionStatus::Unknown),
        }
    }

    fn transaction_statuses(&mut self, xids: &[i64]) -> QueryResult<Vec<(i64, TransactionStatus)>> {
        if xids.is_empty() {
            return Ok(Vec::new());
        }
        // An id that this server has not given out yet would be an error.
        let statuses = sql::<(BigInt, Nullable<Text>)>(
            "id, CASE WHEN id < txid_snapshot_xmax(txid_current_snapshot()) THEN txid_status(id) END \
             FROM unnest(",
        )
        .bind::<Array<BigInt>, _>(xids)
        .sql(") AS id");
        let statuses: Vec<(i64, Option<String>)> = diesel::select(statuses).load(self)?;
        let statuses = statuses.into_iter();
        Ok(statuses
            .map(|(id, status)| (id, status_of(status)))
            .collect())
    }

    /// Recovery from a crash resets the statistics, and a restart in order keeps them.
    fn crashed_since(&mut self, micros: i64) -> QueryResult<bool> {
        let crashed = sql::<Bool>(
            "coalesce(pg_stat_get_bgwriter_stat_reset_time() >= timestamptz 'epoch' + ",
        )
        .bind::<BigInt, _>(micros)
        .sql(" * interval '1 microsecond', true)");
        diesel::select(crashed).get_result(self)
    }
}

fn status_of(answer: Option<String>) -> TransactionStatus {
    match answer.as_deref() {
        Some("committed") => TransactionStatus::Committed,
        Some("aborted") => TransactionStatus::Aborted,
        Some("in progress") => TransactionStatus::InProgress,
        _ => TransactionStatus::Unknown,
    }
}
