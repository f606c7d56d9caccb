//! Delivery modes: when and how a record leaves the user's transaction.

use audit_core::{Payload, Record};
use diesel::result::{DatabaseErrorKind, Error};

use crate::AuditError;
use crate::auditor::AuditedBackend;
use crate::connection::{EntriesToStore, RawConnection};
use crate::consumer::is_outage;
use crate::recorder::{Recorder, own};
use crate::store::EntryToStore;

/// When and how a record leaves the transaction that it belongs to: for an auditor with
/// [`AuditorBuilder::delivery`](crate::AuditorBuilder::delivery), and for one model with
/// `#[audit(delivery = "transactional")]`. Models of different modes may be written in one
/// transaction.
///
/// In every mode a record is there if and only if its change was kept; they differ in what may
/// come between, and in what that costs.
///
/// | | `AfterCommit` | `Prepared` | `Transactional` |
/// |---|---|---|---|
/// | Process killed between COMMIT and the hand-over | lost | recorded | recorded |
/// | Connection lost during COMMIT | settled by the consumer | settled by asking PostgreSQL | as the database decided |
/// | Redis, consumer or `audit_logs` away | the operation succeeds | the operation succeeds | without `audit_logs` the operation fails |
/// | The journal cannot be written | the operation succeeds; Redis gets the record, or it waits in memory | the operation fails | does not matter |
/// | Needs | a queue and a consumer | PostgreSQL, a journal, `confirm_in`, a consumer | `audit_logs` in the same database |
/// | Statements in a transaction | none | a question in each savepoint that something is recorded in | one INSERT for each audited statement; on SQLite a savepoint around both |
/// | Statements outside of one | none | BEGIN, COMMIT | BEGIN, INSERT, COMMIT |
/// | On the caller's time | one write to the journal (or to Redis) for each transaction | two, and one more for each further statement | those round trips, and the indexes of `audit_logs` |
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Delivery {
    /// Records are held in memory until COMMIT has succeeded, and go to the queue then. Auditing
    /// cannot make the user's operation fail. The gap: what the process held when it died after
    /// COMMIT and before the hand-over, well under a millisecond later, is lost.
    #[default]
    AfterCommit,
    /// Records are written to the journal before the statement returns, with the transaction's id,
    /// and released after COMMIT. A thread settles what was not released, because the process
    /// died, the connection was lost during COMMIT, or a statement of the transaction failed: it
    /// asks PostgreSQL (`pg_xact_status`) whether the transaction was committed. Committed: the
    /// record is sent. Aborted: it is dropped. In progress: it waits. Any process that shares the
    /// journal does that, also at its next start.
    ///
    /// In a savepoint the record is of the subtransaction that the savepoint has begun, and
    /// PostgreSQL is asked about that one. Its id is read from `pg_locks`, once for each savepoint,
    /// which takes the longer the more locks the server holds. Where an event is recorded in a
    /// savepoint that nothing was written in, an empty logical message `audit-diesel` makes
    /// PostgreSQL give it an id; those who decode logical messages see it.
    ///
    /// What PostgreSQL cannot say goes into `audit_quarantine` with that reason: an id that is too
    /// old, that it has not given out (it was restored to a time before), or that another cluster
    /// or another timeline gave; and after a crash of PostgreSQL itself, which may give an id again
    /// that was not on disk yet, what looks committed.
    ///
    /// A statement whose record cannot be written down fails, with [`AuditError`], and its
    /// transaction can only be rolled back. A power cut takes no record with
    /// `Fsync::Always` on the journal. On SQLite it is refused before
    /// anything is written.
    Prepared,
    /// Records are inserted into `audit_logs` in the user's own transaction, those of one
    /// statement at once. Outside of a transaction, the statement and the insert are made one.
    ///
    /// There is no gap, and neither a queue nor a consumer; but a record that cannot be stored
    /// makes its statement fail, with [`AuditError`], and the transaction with it: PostgreSQL
    /// takes nothing more of it but ROLLBACK; SQLite undoes the statement, and the rest can be
    /// committed.
    Transactional,
}

/// Checks, before anything is written, that records of this mode can be made.
pub(crate) fn ready<C: RawConnection>(
    conn: &mut C,
    chosen: Option<Delivery>,
) -> Result<Delivery, AuditError> {
    let recorder = Recorder::ready(conn)?;
    let delivery = recorder.auditor().delivery(chosen)?;
    if delivery == Delivery::Prepared && recorder.needs_server_identity() {
        let server = own(conn, RawConnection::server_identity).map_err(AuditError::Database)?;
        let server = server.ok_or(AuditError::PreparedNeedsPostgres)?;
        if let Some(recorder) = Recorder::of(conn) {
            recorder.set_server_identity(server);
        }
    }
    Ok(delivery)
}

/// PostgreSQL's id of the open transaction, unless the recorder knows it already.
fn missing_xid<C: RawConnection>(conn: &mut C) -> Result<Option<i64>, AuditError> {
    let recorder = Recorder::of(conn).ok_or(AuditError::NoAuditor)?;
    Ok(match recorder.has_xid() {
        true => None,
        false => own(conn, <C::Backend as AuditedBackend>::transaction_id),
    })
}

/// Writes records down in the journal, with the id of the transaction that is open.
fn prepare<C: RawConnection>(
    conn: &mut C,
    payloads: Vec<Payload>,
    xid: Option<i64>,
) -> Result<(), AuditError> {
    let xid = match xid {
        Some(xid) => Some(xid),
        None => missing_xid(conn)?,
    };
    write_down(conn, payloads, xid)
}

/// Writes an event down; see [`prepare`].
fn prepare_event<C: RawConnection>(conn: &mut C, record: Record) -> Result<(), AuditError> {
    let xid = missing_xid(conn)?;
    let recorder = Recorder::of(conn).ok_or(AuditError::NoAuditor)?;
    let payload = recorder.number(record)?;
    write_down(conn, vec![payload], xid)
}

fn write_down<C: RawConnection>(
    conn: &mut C,
    payloads: Vec<Payload>,
    xid: Option<i64>,
) -> Result<(), AuditError> {
    let recorder = Recorder::of(conn).ok_or(AuditError::NoAuditor)?;
    let first = recorder.next_place();
    recorder.pass(payloads.len(), xid);
    if payloads.is_empty() {
        return Ok(());
    }
    let writer = writer(conn)?;
    let recorder = Recorder::of(conn).ok_or(AuditError::NoAuditor)?;
    recorder.prepare(first, payloads, writer)
}

/// By which id the database knows what is written now.
fn writer<C: RawConnection>(conn: &mut C) -> Result<i64, AuditError> {
    let recorder = Recorder::of(conn).ok_or(AuditError::NoAuditor)?;
    if let Some(writer) = recorder.writer() {
        return Ok(writer);
    }
    let depth = recorder.depth();
    let writer = own(conn, |conn| {
        <C::Backend as AuditedBackend>::writer(conn, depth)
    });
    let writer = writer.map_err(AuditError::Database)?;
    let writer = writer.ok_or(AuditError::PreparedNeedsPostgres)?;
    if let Some(recorder) = Recorder::of(conn) {
        recorder.set_writer(writer);
    }
    Ok(writer)
}

/// Delivers the records of a statement.
pub(crate) fn changes<C>(
    conn: &mut C,
    payloads: Vec<Payload>,
    xid: Option<i64>,
    delivery: Delivery,
) -> Result<(), AuditError>
where
    C: RawConnection,
{
    let recorder = Recorder::of(conn).ok_or(AuditError::NoAuditor)?;
    match delivery {
        Delivery::AfterCommit => recorder.record(payloads, xid),
        Delivery::Prepared => {
            let prepared = prepare(conn, payloads, xid);
            if prepared.is_err() {
                own(conn, RawConnection::spoil_transaction);
            }
            prepared
        }
        Delivery::Transactional => {
            recorder.pass(payloads.len(), xid);
            let stored = store(conn, &payloads);
            if stored.is_err() {
                own(conn, RawConnection::spoil_transaction);
            }
            stored
        }
    }
}

/// Delivers an event; outside of a transaction that is one of its own.
pub(crate) fn event<C>(conn: &mut C, record: Record, delivery: Delivery) -> Result<(), AuditError>
where
    C: RawConnection,
    C::Backend: AuditedBackend,
{
    let recorder = Recorder::of(conn).ok_or(AuditError::NoAuditor)?;
    match delivery {
        Delivery::AfterCommit => {
            let xid = match recorder.has_xid() {
                true => None,
                false => <C::Backend as AuditedBackend>::transaction_id(conn),
            };
            let recorder = Recorder::of(conn).ok_or(AuditError::NoAuditor)?;
            recorder.record_event(record, xid)
        }
        Delivery::Prepared => conn
            .run_with_records(|conn| Ok(prepare_event(conn, record)?))
            .map_err(AuditError::out_of),
        Delivery::Transactional => {
            let payload = recorder.number_event(record)?;
            store(conn, &[payload])
        }
    }
}

/// Inserts records into `audit_logs`, in the transaction that is open.
fn store<C: RawConnection>(conn: &mut C, payloads: &[Payload]) -> Result<(), AuditError> {
    if payloads.is_empty() {
        return Ok(());
    }
    // The very form that a consumer would store.
    let entries: Result<Vec<_>, _> = payloads.iter().map(EntryToStore::read).collect();
    let entries = entries.map_err(|refused| AuditError::NotStored {
        reason: refused.reason,
    })?;
    let stored = own(conn, |conn| conn.store_records(&EntriesToStore(entries)));
    stored.map_err(not_stored)
}

/// What the database refused is about the record. What it could not do now is passed on as it
/// is, so that the caller can try again as for any statement.
fn not_stored(error: Error) -> AuditError {
    let reason = error.to_string();
    match error {
        // In another language the next one says it as well.
        Error::DatabaseError(DatabaseErrorKind::Unknown, _)
            if reason.starts_with("permission denied") =>
        {
            AuditError::TrailForbidden { reason }
        }
        Error::DatabaseError(DatabaseErrorKind::Unknown, _) if reason.contains("audit_logs") => {
            AuditError::TrailUnusable { reason }
        }
        error if is_outage(&error) => AuditError::Database(error),
        _ => AuditError::NotStored { reason },
    }
}
