//! Whether an error is about the record or about the database. Diesel passes SQLSTATE on for a
//! few errors only.

use diesel::result::{DatabaseErrorKind, Error};

/// How messages begin that say nothing about the record, of those that share one kind with
/// refusals. Where the server speaks another language, other rows tell.
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

/// Whether an error says nothing about the record: later it can be stored. What is no outage may be
/// the table's fault as well as the record's.
pub(crate) fn is_outage(error: &Error) -> bool {
    use DatabaseErrorKind::{
        CheckViolation, ExclusionViolation, ForeignKeyViolation, NotNullViolation,
        RestrictViolation, UniqueViolation, Unknown,
    };
    match error {
        Error::DatabaseError(
            UniqueViolation | ForeignKeyViolation | NotNullViolation | CheckViolation
            | RestrictViolation | ExclusionViolation,
            _,
        ) => false,
        Error::DatabaseError(Unknown, words) => {
            let words = words.message();
            OUTAGES.iter().any(|outage| words.starts_with(outage))
        }
        // It failed on this side: the value has no form that the database knows.
        Error::SerializationError(_) | Error::InvalidCString(_) | Error::QueryBuilderError(_) => {
            false
        }
        _ => true,
    }
}
