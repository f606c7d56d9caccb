//! Records of transactions that have not ended, or whose end nobody saw. They stand in the
//! journal's file and count towards its bound, so that there is room for them when they are
//! released.

use audit_core::{Payload, QueueError};
use diesel::dsl::sql;
use diesel::prelude::*;
use diesel::sql_types::BigInt;
use uuid::Uuid;

use super::Journal;
use super::statements::{self, add_bytes, signed};
use crate::auditor::PreparedFor;
use crate::failpoint::failpoint;

/// Created with the journal's other tables.
pub(super) const TABLE: &str = "
CREATE TABLE audit_journal_prepared (
    txn BLOB NOT NULL,
    place INTEGER NOT NULL,
    xid INTEGER NOT NULL,
    -- The transaction's id, or that of the subtransaction that a savepoint has begun.
    writer INTEGER NOT NULL,
    origin TEXT NOT NULL,
    -- In milliseconds since 1970.
    prepared_at INTEGER NOT NULL,
    payload BLOB NOT NULL,
    PRIMARY KEY (txn, place)
);
";

diesel::table! {
    audit_journal_prepared (txn, place) {
        txn -> Binary,
        place -> BigInt,
        xid -> BigInt,
        writer -> BigInt,
        origin -> Text,
        prepared_at -> BigInt,
        payload -> Binary,
    }
}

use audit_journal_prepared as prepared;

/// A transaction that is to be settled.
#[derive(Debug, Queryable)]
pub(crate) struct Unsettled {
    pub(crate) transaction: Vec<u8>,
    pub(crate) xid: i64,
    pub(crate) origin: String,
    pub(crate) prepared_at: i64,
}

/// A subtransaction that prepared records belong to, and its transaction.
type Writer = (Vec<u8>, i64);

impl Journal {
    pub(crate) fn prepare(
        &self,
        owner: &PreparedFor<'_>,
        first: u32,
        undo_from: Option<u32>,
        payloads: &[Payload],
    ) -> Result<(), QueueError> {
        failpoint!("prepared.before-write");
        self.take(payloads, |connection, bytes, max_bytes| {
            if bytes > max_bytes {
                return Ok(false);
            }
            connection.immediate_transaction(|connection| {
                if let Some(from) = undo_from {
                    undo(connection, owner.transaction.as_bytes(), from.into())?;
                }
                if statements::bytes(connection)? > max_bytes - bytes {
                    return Ok(false);
                }
                add_bytes(connection, signed(bytes))?;
                for (place, payload) in (i64::from(first)..).zip(payloads) {
                    insert(connection, owner, place, payload)?;
                }
                Ok(true)
            })
        })?;
        failpoint!("prepared.written");
        Ok(())
    }

    pub(crate) fn undo_prepared(&self, transaction: &[u8], from: u32) -> Result<(), QueueError> {
        self.run(&self.0.writer, |connection| {
            connection
                .immediate_transaction(|connection| undo(connection, transaction, from.into()))
        })
    }

    /// Puts these records at the journal's end, in place of the transaction's prepared ones.
    pub(crate) fn release_as(
        &self,
        transaction: Uuid,
        payloads: &[Payload],
    ) -> Result<(), QueueError> {
        failpoint!("prepared.before-release");
        self.run(&self.0.writer, |connection| {
            connection.immediate_transaction(|connection| {
                undo(connection, transaction.as_bytes(), 0)?;
                append(connection, payloads)
            })
        })?;
        failpoint!("prepared.released");
        Ok(())
    }

    /// Puts the transaction's prepared records at the journal's end, but for those of these
    /// writers, and says how many.
    pub(crate) fn release_prepared(
        &self,
        transaction: &[u8],
        undone: &[i64],
    ) -> Result<usize, QueueError> {
        self.run(&self.0.writer, |connection| {
            connection.immediate_transaction(|connection| {
                let payloads = payloads_without(connection, transaction, undone)?;
                undo(connection, transaction, 0)?;
                append(connection, &payloads)?;
                Ok(payloads.len())
            })
        })
    }

    pub(crate) fn prepared_payloads(&self, transaction: &[u8]) -> Result<Vec<Payload>, QueueError> {
        self.run(&self.0.reader, |connection| {
            payloads_without(connection, transaction, &[])
        })
    }

    /// The oldest transactions that have prepared records.
    pub(crate) fn unsettled(&self, limit: usize) -> Result<Vec<Unsettled>, QueueError> {
        self.run(&self.0.reader, |connection| {
            prepared::table
                .group_by((prepared::txn, prepared::xid, prepared::origin))
                .select((
                    prepared::txn,
                    prepared::xid,
                    prepared::origin,
                    sql::<BigInt>("max(prepared_at)"),
                ))
                .order(prepared::txn)
                .limit(limit as i64)
                .load(connection)
        })
    }

    /// The subtransactions that prepared records of these transactions belong to.
    pub(crate) fn writers(&self, transactions: &[&[u8]]) -> Result<Vec<Writer>, QueueError> {
        self.run(&self.0.reader, |connection| {
            prepared::table
                .filter(prepared::txn.eq_any(transactions))
                .filter(prepared::writer.ne(prepared::xid))
                .select((prepared::txn, prepared::writer))
                .distinct()
                .load(connection)
        })
    }

    pub(crate) fn count_unsettled(&self) -> Result<u64, QueueError> {
        self.run(&self.0.reader, |connection| {
            let count = sql::<BigInt>("count(DISTINCT txn)");
            let count: i64 = prepared::table.select(count).first(connection)?;
            Ok(count as u64)
        })
    }
}

fn insert(
    connection: &mut SqliteConnection,
    owner: &PreparedFor<'_>,
    place: i64,
    payload: &Payload,
) -> QueryResult<usize> {
    diesel::insert_into(prepared::table)
        .values((
            prepared::txn.eq(owner.transaction.as_bytes().as_slice()),
            prepared::place.eq(place),
            prepared::xid.eq(owner.xid),
            prepared::writer.eq(owner.writer),
            prepared::origin.eq(owner.origin),
            prepared::prepared_at.eq(now_ms()),
            prepared::payload.eq(payload.as_bytes()),
        ))
        .execute(connection)
}

/// The system's clock, in milliseconds since 1970.
pub(crate) fn now_ms() -> i64 {
    chrono::Utc::now().timestamp_millis()
}

/// Removes prepared records from a place on, and gives their room back.
fn undo(connection: &mut SqliteConnection, transaction: &[u8], from: i64) -> QueryResult<()> {
    let of = || {
        prepared::table
            .filter(prepared::txn.eq(transaction))
            .filter(prepared::place.ge(from))
    };
    let bytes = sql::<BigInt>("coalesce(sum(length(payload)), 0)");
    let bytes: i64 = of().select(bytes).first(connection)?;
    if bytes > 0 {
        diesel::delete(of()).execute(connection)?;
        add_bytes(connection, -bytes)?;
    }
    Ok(())
}

fn payloads_without(
    connection: &mut SqliteConnection,
    transaction: &[u8],
    undone: &[i64],
) -> QueryResult<Vec<Payload>> {
    let payloads: Vec<(i64, Vec<u8>)> = prepared::table
        .filter(prepared::txn.eq(transaction))
        .order(prepared::place)
        .select((prepared::writer, prepared::payload))
        .load(connection)?;
    let kept = payloads
        .into_iter()
        .filter(|(writer, _)| !undone.contains(writer));
    Ok(kept.map(|(_, payload)| Payload::from(payload)).collect())
}

/// Whatever room there is: what is released had room before.
fn append(connection: &mut SqliteConnection, payloads: &[Payload]) -> QueryResult<()> {
    let bytes: usize = payloads.iter().map(|p| p.as_bytes().len()).sum();
    statements::append(connection, payloads, bytes as i64, i64::MAX).map(drop)
}
