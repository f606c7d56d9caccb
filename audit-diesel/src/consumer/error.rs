//! What can go wrong with a consumer.

use std::time::Duration;

use audit_core::QueueError;

/// Why a consumer did not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConsumerError {
    /// The pool gave no connection, or the database does not answer.
    #[error("the consumer cannot reach the database: {reason}")]
    NoConnection {
        /// What was said, without what it quotes of the URL: that may be a part of the password.
        reason: String,
    },
    /// `audit_logs` or `audit_quarantine` is missing, or has not the columns that it should have.
    #[error(
        "the database has no usable `{table}` table ({reason}): run the migrations, \
         `conn.run_pending_migrations(audit_diesel::{backend}::MIGRATIONS)`, beside the \
         application's own"
    )]
    MissingMigration {
        /// The table.
        table: &'static str,
        /// The module of this crate that has the migrations.
        backend: &'static str,
        /// What the database said.
        reason: String,
    },
    /// The database's role may not do what a consumer does.
    #[error(
        "the role `{role}` needs {privilege} on {object}: let the owner run `GRANT {privilege} ON \
         {object} TO {role}`"
    )]
    MissingRight {
        /// The role that the pool connects as.
        role: String,
        /// The right, such as `INSERT`.
        privilege: String,
        /// The table, or `SCHEMA` and its name.
        object: String,
    },
    /// The database does not say which one it is, and nobody else has.
    #[error(
        "the database does not say which one it is ({reason}), so that the queue's records may be \
         another one's: let the role do what was refused, on PostgreSQL by `GRANT EXECUTE ON FUNCTION \
         pg_control_system() TO …`, or name the owner in all that use the list, \
         `RedisQueue::builder(url).owner(name)`"
    )]
    NoIdentity {
        /// What the database said.
        reason: String,
    },
    /// The queue cannot be used as configured.
    #[error(transparent)]
    Queue(#[from] QueueError),
    /// A setting is out of range.
    #[error("{setting} must be {range}")]
    OutOfRange {
        /// The builder's method.
        setting: &'static str,
        /// What it may be.
        range: &'static str,
    },
    /// The operating system gave no thread.
    #[error("the consumer's thread cannot be started: {0}")]
    Thread(#[source] std::io::Error),
}

/// Why not everything was stored.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FlushError {
    /// It took longer than it may. The consumer goes on trying.
    #[error(
        "not everything was stored within {waited:?}; the last problem was: {}",
        last_error.as_deref().unwrap_or("none, there is just a lot to do")
    )]
    Timeout {
        /// How long the call waited.
        waited: Duration,
        /// What kept the consumer from storing, if anything did.
        last_error: Option<String>,
    },
    /// The consumer was stopped.
    #[error("the consumer was stopped before everything was stored")]
    Stopped,
}

/// The consumer's thread did not end in time: it waits for the database or the queue, and ends
/// when that answers or gives up. Nothing is lost by ending the process.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "the consumer's thread did not end within {waited:?}; it ends when the database or the queue answers"
)]
pub struct StopError {
    /// How long the call waited.
    pub waited: Duration,
}

/// Words of the database or its driver, without what they quote of the URL. A malformed URL is
/// quoted in whole or in parts, and any part may be one of the password.
pub(super) fn discreet(said: &str) -> String {
    let said = said.find("URI").map_or(said, |at| &said[..at + 3]);
    let mut kept = String::new();
    for (number, part) in said.split('"').enumerate() {
        if number % 2 == 0 {
            kept.push_str(part);
        } else if ["at ", "user ", "role ", "database "]
            .iter()
            .any(|word| kept.ends_with(word))
        {
            kept.extend(["\"", part, "\""]);
        } else {
            kept.push('…');
        }
    }
    kept.trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quoted_parts_of_a_url_are_left_out() {
        for said in [
            "end of string in URI: \"postgres://ada:s3cr3t@[::1/db\"",
            "missing \"=\" after \"s3cr3t\" in connection info string",
            "could not translate host name \"s3cr3t@host\" to address",
            "invalid integer value \"s3cr3t\" for connection option \"port\"",
        ] {
            assert!(!discreet(said).contains("s3cr3t"), "{}", discreet(said));
        }
        let said = "connection to server at \"::1\", port 1 failed: FATAL: no such user \"ada\"";
        assert_eq!(discreet(said), said);
    }
}
