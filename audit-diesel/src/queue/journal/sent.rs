//! A journal that is carried on to another queue: how far, by whom, and what waits to be confirmed.

use std::ops::Range;
use std::time::Duration;

use audit_core::{Batch, Payload, QueueError};
use diesel::prelude::*;

use super::statements::{self, audit_journal, audit_journal_state, signed};
use super::{Journal, PEEK_BYTES, now_ms};
use crate::failpoint::failpoint;

/// What came of asking to carry a journal on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Claim {
    /// Nobody else has carried it since the last time.
    Kept,
    /// Somebody else may have carried it until now.
    Taken,
    Refused,
}

impl Journal {
    /// The number of the first payload that was not carried on yet.
    pub(crate) fn sent_to(&self) -> Result<i64, QueueError> {
        self.run(&self.0.reader, sent_to)
    }

    /// The oldest payloads that were not carried on yet.
    pub(crate) fn peek_unsent(&self, limit: usize) -> Result<Batch, QueueError> {
        self.peek_with(|connection| {
            let first = sent_to(connection)?;
            statements::peek(connection, first..i64::MAX, limit, PEEK_BYTES)
        })
    }

    /// The oldest payloads that were carried on, of those numbered so.
    pub(crate) fn peek_sent(&self, numbers: Range<i64>, limit: usize) -> Result<Batch, QueueError> {
        self.run(&self.0.reader, |connection| {
            statements::peek(connection, numbers, limit, PEEK_BYTES)
        })
    }

    /// Notes that the batch was carried on, unless that was noted before.
    pub(crate) fn mark_sent(&self, batch: &Batch) -> Result<usize, QueueError> {
        let first = signed(batch.receipt);
        let end = first.saturating_add(batch.len() as i64);
        failpoint!("journal.before-mark");
        let marked = self.run(&self.0.writer, |connection| {
            let state = audit_journal_state::table
                .find(1)
                .filter(audit_journal_state::sent_to.le(first));
            diesel::update(state)
                .set(audit_journal_state::sent_to.eq(end))
                .execute(connection)
        })?;
        failpoint!("journal.marked");
        Ok(if marked == 0 { 0 } else { batch.len() })
    }

    /// How many payloads were not carried on yet.
    pub(crate) fn count_unsent(&self) -> Result<u64, QueueError> {
        self.0.collect()?;
        self.run(&self.0.reader, count_unsent)
    }

    /// Puts payloads that the journal holds at its end, where they are carried on again. They
    /// take no further room: their old places are given up next.
    pub(crate) fn send_again(&self, payloads: &[Payload]) -> Result<(), QueueError> {
        let bytes: usize = payloads.iter().map(|p| p.as_bytes().len()).sum();
        self.run(&self.0.writer, |connection| {
            statements::push(connection, payloads, bytes as u64, u64::MAX).map(drop)
        })?;
        failpoint!("journal.sent-again");
        Ok(())
    }

    /// Makes `carrier` the one who carries the journal on, for so long, unless another one is.
    pub(crate) fn claim(&self, carrier: i64, lease: Duration) -> Result<Claim, QueueError> {
        self.run(&self.0.writer, |connection| {
            // The clock is read once nobody else can claim: a time from before the wait for that
            // would make the latest claim look like one of a clock that was set back.
            connection.immediate_transaction(|connection| {
                claim(connection, carrier, now_ms(), lease.as_millis() as i64)
            })
        })
    }

    /// Lets another one carry the journal on.
    pub(crate) fn release(&self, carrier: i64) -> Result<(), QueueError> {
        self.run(&self.0.writer, |connection| {
            use audit_journal_state as state;
            let mine = state::table.find(1).filter(state::carrier.eq(carrier));
            diesel::update(mine)
                .set(state::carrier_until.eq(0))
                .execute(connection)
                .map(drop)
        })
    }
}

fn claim(
    connection: &mut SqliteConnection,
    carrier: i64,
    now_ms: i64,
    lease_ms: i64,
) -> QueryResult<Claim> {
    use audit_journal_state as state;
    let until = state::carrier_until.eq(now_ms + lease_ms);
    // Where the clock was set back: nobody claims that far ahead.
    let free = state::carrier_until
        .le(now_ms)
        .or(state::carrier_until.gt(now_ms + 2 * lease_ms));
    let row = state::table.find(1);
    let mine = row.filter(state::carrier.eq(carrier));
    if diesel::update(mine).set(until).execute(connection)? > 0 {
        return Ok(Claim::Kept);
    }
    let taken = diesel::update(row.filter(free))
        .set((state::carrier.eq(carrier), until))
        .execute(connection)?;
    Ok(if taken > 0 {
        Claim::Taken
    } else {
        Claim::Refused
    })
}

/// How many payloads were not carried on yet. They are numbered without gaps: to count would read all
/// of them.
pub(super) fn count_unsent(connection: &mut SqliteConnection) -> QueryResult<u64> {
    let first = sent_to(connection)?;
    let last: Option<i64> = audit_journal::table
        .select(diesel::dsl::max(audit_journal::seq))
        .first(connection)?;
    Ok(last.map_or(0, |last| (last + 1 - first).max(0) as u64))
}

fn sent_to(connection: &mut SqliteConnection) -> QueryResult<i64> {
    audit_journal_state::table
        .find(1)
        .select(audit_journal_state::sent_to)
        .first(connection)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use std::sync::mpsc;

    use diesel::connection::SimpleConnection;

    use super::*;

    const LEASE: Duration = Duration::from_secs(60);

    /// Two processes ask at once, and the one that asked first comes second.
    #[test]
    fn a_claim_that_had_to_wait_takes_nothing_over() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal.db");
        let journal = Journal::builder(&path).open().unwrap();
        assert_eq!(journal.claim(1, LEASE), Ok(Claim::Taken));
        let mut other = SqliteConnection::establish(path.to_str().unwrap()).unwrap();
        other.batch_execute("BEGIN IMMEDIATE").unwrap();
        let (asks, asked) = mpsc::channel();
        let claimed = std::thread::scope(|scope| {
            let waiting = scope.spawn(|| {
                asks.send(now_ms()).unwrap();
                journal.claim(2, LEASE)
            });
            // Later than the other one has looked at the clock.
            let asked_at = asked.recv().unwrap();
            while now_ms() < asked_at + 50 {
                std::thread::yield_now();
            }
            let kept = claim(&mut other, 1, now_ms(), LEASE.as_millis() as i64);
            assert_eq!(kept, Ok(Claim::Kept));
            other.batch_execute("COMMIT").unwrap();
            waiting.join().unwrap()
        });
        assert_eq!(claimed, Ok(Claim::Refused));
    }
}
