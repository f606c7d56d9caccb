//! A record that ends the connection of whoever stores it: what it is compared with, and its way
//! into quarantine.

use std::thread;
use std::time::{Duration, Instant};

use audit_core::{Payload, Record};
use chrono::Utc;
use diesel::result::{Error, QueryResult};

use super::refusal::{harmless, is_outage};
use super::store::{Backend, StoredBatch, say_quarantined};
use super::storing::takes_rows;
use super::{Control, Delivery, Tally};
use crate::store::Refused;

/// What one row of a control has at least.
const PIECE_BYTES: usize = 4 << 10;

/// What each control has at least.
const PIECES: usize = 4;

/// How soon a control that only has to last sends its next row.
const PAUSE: Duration = Duration::from_millis(5);

/// The rows of a control.
#[doc(hidden)]
pub struct ControlRows<'a> {
    pieces: usize,
    at_least: Duration,
    is_stopped: &'a dyn Fn() -> bool,
}

impl<'a> ControlRows<'a> {
    pub(super) fn of(control: &Control<'a>) -> Self {
        let bytes = control.like.as_bytes().len() * 2;
        Self {
            pieces: bytes.div_ceil(PIECE_BYTES).max(PIECES),
            at_least: control.at_least,
            is_stopped: control.is_stopped,
        }
    }
}

/// Inserts rows one by one and takes each back, in a transaction that is committed: what cannot
/// be committed is an outage.
pub(super) fn control<C: Backend>(conn: &mut C, rows: ControlRows<'_>) -> QueryResult<()> {
    let began = Instant::now();
    conn.batch(|conn| {
        let mut sent = 0;
        while sent < rows.pieces || began.elapsed() < rows.at_least {
            if (rows.is_stopped)() {
                return Err(Error::RollbackTransaction);
            }
            if sent >= rows.pieces {
                thread::sleep(PAUSE);
            }
            match takes_rows(conn, &harmless(PIECE_BYTES, Utc::now())) {
                Err(error) if is_outage(&error) => return Err(error),
                // Where the table refuses it, the connection held all the same.
                _ => sent += 1,
            }
        }
        Ok(())
    })
}

/// A record on its way into quarantine.
#[doc(hidden)]
#[derive(Debug)]
pub struct Poison {
    refused: Refused,
    lock: i64,
}

impl Poison {
    pub(super) fn new(payload: &Payload, reason: &str, lock: i64) -> Self {
        Self {
            refused: Refused::new(payload, reason),
            lock,
        }
    }
}

/// Puts a record into quarantine, unless it is stored: the connection may have ended after COMMIT.
pub(super) fn isolate<C: Backend>(conn: &mut C, poison: Poison) -> QueryResult<StoredBatch> {
    let Poison { refused, lock } = poison;
    let delivery = conn.batch(|conn| {
        // Whoever has the lock may still be storing it, over a connection that ended here only.
        if !conn.try_lock(lock)? {
            return Ok(Delivery::StandBy);
        }
        let record = Record::decode(refused.payload.as_bytes()).ok();
        let is_stored = match record {
            Some(record) => !conn.stored(&[record.id])?.is_empty(),
            None => false,
        };
        let quarantined = match is_stored {
            true => 0,
            false => conn.quarantine_covertly(&refused)?,
        };
        Ok(Delivery::Done(Tally {
            quarantined,
            poison: quarantined,
            duplicates: 1 - quarantined,
            ..Tally::default()
        }))
    })?;
    if let Delivery::Done(Tally { quarantined: 1, .. }) = &delivery {
        say_quarantined(&refused);
    }
    Ok(StoredBatch(delivery))
}
