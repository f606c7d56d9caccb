//! Records that could not be carried on and have no other place. They stand in the journal's file
//! and count towards its bound.

use audit_core::{QueueError, Warning};
use diesel::connection::SimpleConnection;
use diesel::prelude::*;

use super::Journal;
use super::prepared::now_ms;
use super::statements::{add_bytes, signed, tables_like};
use crate::store::Refused;

/// Made when it is needed.
const TABLE: &str = "
CREATE TABLE IF NOT EXISTS audit_journal_quarantine (
    id TEXT NOT NULL PRIMARY KEY,
    -- In milliseconds since 1970.
    quarantined_at INTEGER NOT NULL,
    reason TEXT NOT NULL,
    payload BLOB NOT NULL
);
";

diesel::table! {
    audit_journal_quarantine (id) {
        id -> Text,
        quarantined_at -> BigInt,
        reason -> Text,
        payload -> Binary,
    }
}

use audit_journal_quarantine as quarantine;

impl Journal {
    /// Keeps a record with the reason, once.
    pub(crate) fn quarantine(&self, refused: &Refused) -> Result<(), QueueError> {
        let payload = refused.payload.as_bytes();
        self.run(&self.0.writer, |connection| {
            connection.immediate_transaction(|connection| {
                connection.batch_execute(TABLE)?;
                let row = (
                    quarantine::id.eq(refused.id().to_string()),
                    quarantine::quarantined_at.eq(now_ms()),
                    quarantine::reason.eq(&refused.reason),
                    quarantine::payload.eq(payload),
                );
                let kept = diesel::insert_or_ignore_into(quarantine::table)
                    .values(row)
                    .execute(connection)?;
                if kept > 0 {
                    add_bytes(connection, signed(payload.len() as u64))?;
                }
                Ok(())
            })
        })
    }

    /// Says how many records are kept so.
    pub(super) fn quarantine_warning(&self) -> Result<Option<Warning>, QueueError> {
        let count = self.run(&self.0.reader, |connection| {
            if tables_like(connection, "name = 'audit_journal_quarantine'")? == 0 {
                return Ok(0);
            }
            quarantine::table.count().get_result::<i64>(connection)
        })?;
        Ok((count > 0).then(|| {
            Warning::new(
                self.0.name.clone(),
                format!(
                    "keeps {count} records in its table audit_journal_quarantine that could not \
                     be carried on, with the reason"
                ),
                "look into them; `.confirm_in(pool)` has such records put into audit_quarantine",
            )
        }))
    }
}
