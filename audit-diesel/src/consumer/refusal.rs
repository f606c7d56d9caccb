//! Whether an error is about the record or about the database. Diesel passes SQLSTATE on for a
//! few errors only.

use std::hash::{BuildHasher, RandomState};

use audit_core::{AuditContext, Payload, Record};
use chrono::{DateTime, Utc};
use diesel::result::{DatabaseErrorKind, Error};

use crate::store::EntryToStore;

/// What an error says about the record that could not be stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Nothing: later it can be stored.
    Outage,
    /// The table does not take it.
    Refused,
    /// The error alone does not tell.
    Unclear,
}

/// How messages begin that say nothing about the record, of those that share one kind with
/// refusals. Where the server speaks another language, the row of the same size tells.
const OUTAGES: &[&str] = &[
    "canceling statement",
    "canceling autovacuum",
    "terminating connection",
    "server closed the connection",
    "deadlock detected",
    "could not extend file",
    "could not write",
    "out of memory",
    "out of shared memory",
    "database is locked",
    "database table is locked",
    "database or disk is full",
    "disk I/O error",
    "attempt to write a readonly database",
];

pub(super) fn verdict(error: &Error) -> Verdict {
    use DatabaseErrorKind::{
        CheckViolation, ExclusionViolation, ForeignKeyViolation, NotNullViolation,
        RestrictViolation, UniqueViolation, Unknown,
    };
    match error {
        Error::DatabaseError(
            UniqueViolation | ForeignKeyViolation | NotNullViolation | CheckViolation
            | RestrictViolation | ExclusionViolation,
            _,
        ) => Verdict::Refused,
        Error::DatabaseError(Unknown, words) => {
            let words = words.message();
            if OUTAGES.iter().any(|outage| words.starts_with(outage)) {
                Verdict::Outage
            } else {
                Verdict::Unclear
            }
        }
        // It failed on this side: the value has no form that the database knows.
        Error::SerializationError(_) | Error::InvalidCString(_) | Error::QueryBuilderError(_) => {
            Verdict::Unclear
        }
        _ => Verdict::Outage,
    }
}

pub(crate) fn is_outage(error: &Error) -> bool {
    verdict(error) == Verdict::Outage
}

/// A row that the table takes if it takes any of this size: a disk that has room for a small one
/// may have none for a large one.
pub(super) fn harmless(bytes: usize, occurred_at: DateTime<Utc>) -> EntryToStore {
    let filling = filling(bytes);
    EntryToStore {
        payload: Payload::from(Vec::new()),
        record: Record::new("audit.probe", AuditContext::default()),
        occurred_at,
        extra: Some(format!("{{\"filling\":\"{filling}\"}}")),
    }
}

/// Digits that do not compress to nothing.
fn filling(length: usize) -> String {
    let random = RandomState::new();
    let mut text = String::with_capacity(length + 16);
    for number in 0.. {
        if text.len() >= length {
            break;
        }
        text.push_str(&format!("{:016x}", random.hash_one(number)));
    }
    text.truncate(length);
    text
}
