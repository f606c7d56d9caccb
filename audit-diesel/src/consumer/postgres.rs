//! Storing in PostgreSQL.

mod begin;
mod rights;

use ::uuid::Uuid;
use audit_core::Warning;
use chrono::{DateTime, Utc};
use diesel::PgConnection;
use diesel::connection::{AnsiTransactionManager, SimpleConnection, TransactionManager};
use diesel::dsl::sql;
use diesel::prelude::*;
use diesel::r2d2::R2D2Connection;
use diesel::result::{DatabaseErrorInformation, DatabaseErrorKind, Error, QueryResult};
use diesel::sql_types::{Array, BigInt, Binary, Bool, Integer, Nullable, Text, Timestamptz};

use self::begin::BeginStoring;
use super::ConsumerError;
use super::backend::{AuditStore, Backend, Begun, Stored, TransactionStatus, missing_migration};
use super::probe::dropped;
use super::refusal::is_outage;
use super::rights::{MissingRight, Right, TO_STORE};
use crate::connection::RawConnection;
use crate::postgres::{
    NewAuditLog, NewQuarantined, ROWS_A_STATEMENT, audit_logs, audit_quarantine, insert,
    insert_again,
};
use crate::store::{AuditLog, EntryToStore, Refused};

/// A piece of a payload that must not be recognised: less than anything on the way refuses.
const COVERT_BYTES: usize = 4 << 10;

/// Who holds a lock. One that is frozen in the middle of COPY is ended: no time-out of PostgreSQL's does
/// that, as it waits for rows in a statement, and the kernel of a frozen process still answers.
/// One that was slow only is cut off, and tries again with fewer rows.
const HOLDER: &str = "
    pid,
    coalesce(CASE
        WHEN usename = current_user AND state = 'active' AND wait_event = 'ClientRead'
            AND query_start < clock_timestamp() - greatest(
                current_setting('idle_in_transaction_session_timeout')::interval, interval '10s')
        THEN pg_terminate_backend(pid) END, false)
    FROM pg_locks JOIN pg_stat_activity USING (pid)
    WHERE locktype = 'advisory' AND objsubid = 1 AND granted
        AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
        AND (classid::bigint << 32) | objid::bigint = ";

#[diesel::declare_sql_function]
extern "SQL" {
    fn txid_status(xid: BigInt) -> Nullable<Text>;
}

impl AuditStore for PgConnection {}

#[expect(private_interfaces, reason = "nobody outside can name it")]
impl Backend for PgConnection {
    fn check_tables(&mut self) -> Result<(), ConsumerError> {
        if let Ok(Some(missing)) = self.missing_right(TO_STORE) {
            return Err(missing.into());
        }
        audit_logs::table
            .select(AuditLog::as_select())
            .limit(0)
            .load(self)
            .map_err(missing_migration("audit_logs", "postgres"))?;
        // The right to insert is enough for it, and for the question.
        self.batch_execute(
            "EXPLAIN INSERT INTO audit_quarantine (id, quarantined_at, reason, payload)
             SELECT NULL::uuid, NULL::timestamptz, NULL::text, NULL::bytea WHERE false",
        )
        .map_err(missing_migration("audit_quarantine", "postgres"))
    }

    fn missing_right(&mut self, needed: &[Right]) -> QueryResult<Option<MissingRight>> {
        rights::missing_right(self, needed)
    }

    fn give_up(&mut self) {
        AnsiTransactionManager::transaction_manager_status_mut(self).set_in_error();
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

    /// What others commit meanwhile has to be seen, whatever the server's default is.
    fn batch<T>(&mut self, run: impl FnOnce(&mut Self) -> QueryResult<T>) -> QueryResult<T> {
        let status = AnsiTransactionManager::transaction_manager_status_mut(self);
        // As in a test's transaction.
        let is_nested = matches!(status.transaction_depth(), Ok(Some(_)));
        match is_nested {
            true => self.transaction(run),
            false => self.build_transaction().read_committed().run(run),
        }
    }

    fn try_lock(&mut self, key: i64) -> QueryResult<bool> {
        Ok(self.begin(key, None)?.is_locked)
    }

    fn begin(&mut self, key: i64, records: Option<[Uuid; 2]>) -> QueryResult<Begun> {
        let begin = BeginStoring { lock: key, records };
        let (_, is_locked, is_as_declared, is_redelivered) =
            begin.get_result::<(i64, bool, bool, bool)>(self)?;
        Ok(Begun {
            is_locked,
            is_redelivered,
            is_as_declared,
        })
    }

    fn at_work(&mut self, key: i64) -> QueryResult<Option<String>> {
        let holder = sql::<(Integer, Bool)>(HOLDER)
            .bind::<BigInt, _>(key)
            .sql(" LIMIT 1");
        let holder: Option<(i32, bool)> = diesel::select(holder).get_result(self).optional()?;
        Ok(holder.map(|(pid, is_ended)| match is_ended {
            true => format!(
                "the consumer of PostgreSQL's backend {pid} (it was frozen while it sent rows, and \
                 has been ended)"
            ),
            false => format!(
                "the consumer of PostgreSQL's backend {pid} (it may be frozen, or its host gone: \
                 `SELECT pg_terminate_backend({pid})` ends it)"
            ),
        }))
    }

    fn insert_new(&mut self, entries: &[&EntryToStore]) -> QueryResult<usize> {
        let rows: Vec<_> = entries.iter().map(|e| NewAuditLog::new(e)).collect();
        diesel::copy_from(audit_logs::table)
            .from_insertable(&rows)
            .execute(self)
    }

    fn insert_rows(&mut self, entries: &[&EntryToStore]) -> QueryResult<usize> {
        insert(self, entries)
    }

    fn insert_again(&mut self, row: &EntryToStore) -> QueryResult<usize> {
        insert_again(self, row)
    }

    fn check_deferred(&mut self) -> QueryResult<()> {
        self.batch_execute("SET CONSTRAINTS ALL IMMEDIATE")
    }

    fn now(&mut self) -> QueryResult<DateTime<Utc>> {
        diesel::select(sql::<Timestamptz>("clock_timestamp()")).get_result(self)
    }

    fn quarantine(&mut self, refused: &[Refused]) -> QueryResult<Vec<Uuid>> {
        let mut new = Vec::new();
        for refused in refused.chunks(ROWS_A_STATEMENT) {
            new.extend(quarantine_new(self, refused)?);
        }
        Ok(new)
    }

    /// The payload is put together in a setting of the transaction: that needs no right at all.
    fn quarantine_covertly(&mut self, refused: &Refused) -> QueryResult<Vec<Uuid>> {
        self.batch_execute("SET LOCAL audit_diesel.payload = ''")?;
        for piece in refused.payload.as_bytes().chunks(COVERT_BYTES) {
            let hex: String = piece.iter().map(|byte| format!("{byte:02x}")).collect();
            // Its length only: the answer must not be recognised either.
            let length = sql::<Integer>(
                "length(set_config('audit_diesel.payload', \
                 current_setting('audit_diesel.payload') || ",
            )
            .bind::<Text, _>(hex)
            .sql(", true))");
            diesel::select(length).execute(self)?;
        }
        let id = refused.id();
        let inserted = self.transaction(|conn| {
            diesel::insert_into(audit_quarantine::table)
                .values((
                    audit_quarantine::id.eq(id),
                    audit_quarantine::reason.eq(&refused.reason),
                    audit_quarantine::payload.eq(sql::<Binary>(
                        "decode(current_setting('audit_diesel.payload'), 'hex')",
                    )),
                ))
                .execute(conn)
        });
        quarantined(inserted, std::slice::from_ref(refused), self)
    }

    fn bounded<T>(&mut self, run: impl FnOnce(&mut Self) -> QueryResult<T>) -> QueryResult<T> {
        self.transaction(|conn| {
            conn.batch_execute("SET LOCAL statement_timeout = 3000")?;
            run(conn)
        })
    }

    fn stored(&mut self, ids: &[Uuid]) -> QueryResult<Stored> {
        let stored = audit_logs::table.filter(audit_logs::id.eq_any(ids));
        // The column may have become text.
        let digest = sql::<Nullable<Binary>>("CAST(digest AS bytea)");
        let stored = stored.select((audit_logs::id, digest));
        Ok(stored.load(self)?.into_iter().collect())
    }

    fn quarantined(&mut self, ids: &[Uuid]) -> QueryResult<Vec<Uuid>> {
        let held = audit_quarantine::table.filter(audit_quarantine::id.eq_any(ids));
        held.select(audit_quarantine::id).load(self)
    }

    fn server_identity(&mut self) -> QueryResult<Option<String>> {
        RawConnection::server_identity(self)
    }

    fn database_identity(&mut self) -> QueryResult<Option<String>> {
        RawConnection::database_identity(self)
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

/// Inserts payloads; where one is there already, in halves. `ON CONFLICT` does not tell an id that is
/// there from what a unique index of somebody else's refuses, or needs the right to read.
fn quarantine_new(conn: &mut PgConnection, refused: &[Refused]) -> QueryResult<Vec<Uuid>> {
    let rows: Vec<_> = refused.iter().map(NewQuarantined::new).collect();
    let inserted = conn.transaction(|conn| {
        diesel::insert_into(audit_quarantine::table)
            .values(&rows)
            .execute(conn)
    });
    match inserted {
        Err(Error::DatabaseError(DatabaseErrorKind::UniqueViolation, _)) if refused.len() > 1 => {
            let (left, right) = refused.split_at(refused.len() / 2);
            let mut new = quarantine_new(conn, left)?;
            new.extend(quarantine_new(conn, right)?);
            Ok(new)
        }
        inserted => quarantined(inserted, refused, conn),
    }
}

/// Which rows are new after an insert into quarantine: one that is there already is fine.
fn quarantined(
    inserted: QueryResult<usize>,
    rows: &[Refused],
    conn: &mut PgConnection,
) -> QueryResult<Vec<Uuid>> {
    match inserted {
        Ok(inserted) if inserted < rows.len() => Err(dropped()),
        Ok(_) => Ok(rows.iter().map(Refused::id).collect()),
        Err(Error::DatabaseError(DatabaseErrorKind::UniqueViolation, violated))
            if is_primary_key(conn, &*violated)? =>
        {
            Ok(Vec::new())
        }
        Err(error) => Err(error),
    }
}

/// Whether what is violated is the primary key of its table.
fn is_primary_key(
    conn: &mut PgConnection,
    violated: &(dyn DatabaseErrorInformation + Send + Sync),
) -> QueryResult<bool> {
    let is_key = sql::<Bool>(
        "EXISTS (SELECT FROM pg_constraint JOIN pg_class ON pg_class.oid = conrelid \
         WHERE contype = 'p' AND conname = ",
    )
    .bind::<Text, _>(violated.constraint_name().unwrap_or_default().to_owned())
    .sql(" AND relname = ")
    .bind::<Text, _>(violated.table_name().unwrap_or_default().to_owned())
    .sql(")");
    diesel::select(is_key).get_result(conn)
}

fn status_of(answer: Option<String>) -> TransactionStatus {
    match answer.as_deref() {
        Some("committed") => TransactionStatus::Committed,
        Some("aborted") => TransactionStatus::Aborted,
        Some("in progress") => TransactionStatus::InProgress,
        _ => TransactionStatus::Unknown,
    }
}
