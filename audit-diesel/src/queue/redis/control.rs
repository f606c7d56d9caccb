//! Whether a connection to Redis holds.

use std::cell::Cell;
use std::io;
use std::thread;
use std::time::{Duration, Instant};

use redis::{Connection, RedisError, RedisResult, Value};

use super::fault;

/// What one command carries.
const PIECE_BYTES: usize = 4 << 10;

/// What there is at least.
const PIECES: usize = 4;

/// How soon the next command follows where only time is left.
const PAUSE: Duration = Duration::from_millis(5);

/// Commands that change nothing, over one connection.
pub(super) struct Pings<'a> {
    pieces: usize,
    at_least: Duration,
    is_stopped: &'a dyn Fn() -> bool,
    /// Whether a connection has answered: it is not replaced then as if it had been idle too long.
    answered: Cell<bool>,
}

impl<'a> Pings<'a> {
    pub(super) fn new(bytes: usize, at_least: Duration, is_stopped: &'a dyn Fn() -> bool) -> Self {
        Self {
            pieces: bytes.div_ceil(PIECE_BYTES).max(PIECES),
            at_least,
            is_stopped,
            answered: Cell::new(false),
        }
    }

    pub(super) fn send(&self, connection: &mut Connection) -> RedisResult<()> {
        if self.answered.get() {
            return Err(closed("it closed a connection that had answered"));
        }
        let began = Instant::now();
        let mut command = redis::cmd("PING");
        command.arg(vec![b'.'; PIECE_BYTES]);
        let mut sent = 0;
        while sent < self.pieces || began.elapsed() < self.at_least {
            if (self.is_stopped)() {
                return Err(RedisError::from(io::Error::other("it is stopped")));
            }
            if sent >= self.pieces {
                thread::sleep(PAUSE);
            }
            match command.query::<Value>(connection) {
                // A refusal is an answer, too.
                Err(error) if !fault::is_answer(&error) => return Err(error),
                _ => self.answered.set(true),
            }
            sent += 1;
        }
        Ok(())
    }
}

fn closed(reason: &'static str) -> RedisError {
    RedisError::from(io::Error::new(io::ErrorKind::ConnectionAborted, reason))
}
