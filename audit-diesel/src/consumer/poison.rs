//! A record that ends the connection of whoever stores it: what it is compared with, and its way
//! into quarantine.

use std::thread;
use std::time::{Duration, Instant};

use diesel::result::{Error, QueryResult};

use super::backend::Backend;
use super::probe::takes_rows;
use super::quarantine::{leave_out_stored, quarantine_covertly, say_quarantined};
use super::{Control, Delivery, Tally};
use crate::store::Refused;

/// What one row of a control has at least.
const PIECE_BYTES: usize = 4 << 10;

/// What each control has at least.
const PIECES: usize = 4;

/// How soon a control that only has to last sends its next row.
const PAUSE: Duration = Duration::from_millis(5);

/// Inserts rows one by one and takes each back, in a transaction that is committed: what cannot
/// be committed is an outage.
pub(super) fn control<C: Backend>(conn: &mut C, control: &Control<'_>) -> QueryResult<()> {
    let bytes = control.like.as_bytes().len() * 2;
    let pieces = bytes.div_ceil(PIECE_BYTES).max(PIECES);
    let began = Instant::now();
    conn.batch(|conn| {
        let mut sent = 0;
        while sent < pieces || began.elapsed() < control.at_least {
            if (control.is_stopped)() {
                return Err(Error::RollbackTransaction);
            }
            if sent >= pieces {
                thread::sleep(PAUSE);
            }
            // Where the table refuses it, the connection held all the same.
            takes_rows(conn, PIECE_BYTES)?;
            sent += 1;
        }
        Ok(())
    })
}

/// Puts a record into quarantine, unless it is stored: the connection may have ended after COMMIT.
pub(super) fn isolate<C: Backend>(
    conn: &mut C,
    refused: Refused,
    lock: i64,
) -> QueryResult<Delivery> {
    let (mut refused, mut new) = (vec![refused], Vec::new());
    let delivery = conn.batch(|conn| {
        // Whoever has the lock may still be storing it, over a connection that ended here only.
        if !conn.try_lock(lock)? {
            return Ok(Delivery::StandBy(conn.at_work(lock)?));
        }
        leave_out_stored(conn, &mut refused)?;
        if let [refused] = refused.as_slice() {
            new = quarantine_covertly(conn, refused)?;
        }
        Ok(Delivery::Done(Tally {
            quarantined: new.len(),
            poison: new.len(),
            duplicates: 1 - new.len(),
            ..Tally::default()
        }))
    })?;
    say_quarantined(&refused, &new);
    Ok(delivery)
}
