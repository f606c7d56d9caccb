//! What was collected from segments, as the journal's tables say it: in one transaction with the
//! payloads, so that none is collected twice whoever does it, and whenever that one dies.

use std::path::Path;

use audit_core::Payload;
use diesel::prelude::*;

use super::super::statements::{self, append};
use super::reader::Part;
use crate::failpoint::failpoint;

/// Created with the journal's other tables.
pub(in crate::queue::journal) const TABLE: &str = "
CREATE TABLE audit_journal_segments (
    name TEXT PRIMARY KEY,
    -- How many bytes of it are in audit_journal.
    collected INTEGER NOT NULL
);
";

diesel::table! {
    audit_journal_segments (name) {
        name -> Text,
        collected -> BigInt,
    }
}

use audit_journal_segments as segments;

/// How far a segment is collected after the attempt.
pub(super) enum Outcome {
    /// This attempt did it. So many bytes of payload are in the journal now.
    Stored { journal_bytes: u64 },
    /// Somebody else was faster, and got this far.
    Before { collected: u64 },
    /// Somebody else was faster, and the segment is removed.
    Gone,
}

/// Moves a part of a segment into the journal.
pub(super) fn store(
    connection: &mut SqliteConnection,
    (name, path): (&str, &Path),
    part: &Part,
) -> QueryResult<Outcome> {
    connection.immediate_transaction(|connection| {
        let collected = collected(connection, name)?;
        match collected {
            // Who removes a segment forgets it afterwards: it may be the second time.
            None if !path.exists() => return Ok(Outcome::Gone),
            Some(collected) if collected > part.from => return Ok(Outcome::Before { collected }),
            _ => {}
        }
        if !part.payloads.is_empty() {
            // There was room when it was pushed.
            append(connection, &part.payloads, bytes(&part.payloads), i64::MAX)?;
        }
        let to = segments::collected.eq(statements::signed(part.to));
        diesel::insert_into(segments::table)
            .values((segments::name.eq(name), to))
            .on_conflict(segments::name)
            .do_update()
            .set(to)
            .execute(connection)?;
        failpoint!("journal.in-collect");
        let journal_bytes = statements::bytes(connection)?;
        Ok(Outcome::Stored { journal_bytes })
    })
}

fn collected(connection: &mut SqliteConnection, name: &str) -> QueryResult<Option<u64>> {
    let row = segments::table.find(name).select(segments::collected);
    let collected: Option<i64> = row.first(connection).optional()?;
    Ok(collected.map(|collected| collected.max(0) as u64))
}

/// The segments that the tables know.
pub(super) fn names(connection: &mut SqliteConnection) -> QueryResult<Vec<String>> {
    segments::table.select(segments::name).load(connection)
}

/// Forgets segments that were removed.
pub(super) fn forget(connection: &mut SqliteConnection, names: &[String]) -> QueryResult<usize> {
    diesel::delete(segments::table.filter(segments::name.eq_any(names))).execute(connection)
}

fn bytes(payloads: &[Payload]) -> i64 {
    payloads.iter().map(|p| p.as_bytes().len() as i64).sum()
}
