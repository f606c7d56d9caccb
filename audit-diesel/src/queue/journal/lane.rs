//! One connection that threads take turns on.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use diesel::prelude::*;

use super::{Fault, JournalFile, fault};

/// Hands a connection from thread to thread. The lock covers the handing over only, so that
/// waiting for a connection can be bounded, however long SQLite keeps it.
pub(super) struct Lane {
    file: Arc<JournalFile>,
    place: Mutex<Place>,
    freed: Condvar,
    /// Whoever came last has waited in vain for another process.
    blocked: AtomicBool,
}

/// How long to wait after others have waited in vain: each caller in turn would lose a time-out to
/// a process that is suspended.
const BLOCKED_TIMEOUT: Duration = Duration::from_millis(20);

enum Place {
    Free(Box<SqliteConnection>),
    Taken,
    /// The connection was in an unknown state and is gone.
    Closed,
}

impl Lane {
    pub(super) fn new(file: Arc<JournalFile>, connection: SqliteConnection) -> Self {
        Self {
            file,
            place: Mutex::new(Place::Free(Box::new(connection))),
            freed: Condvar::new(),
            blocked: AtomicBool::new(false),
        }
    }

    pub(super) fn run<T>(
        &self,
        work: impl FnOnce(&mut SqliteConnection) -> QueryResult<T>,
    ) -> Result<T, Fault> {
        self.file.check()?;
        let mut turn = self.take()?;
        let mut connection = match turn.kept.take() {
            Some(connection) => connection,
            None => Box::new(self.file.connect(self.timeout())?),
        };
        let outcome = work(&mut connection);
        let _ = outcome.as_ref().inspect_err(|e| self.file.noticed(e));
        let locked = outcome.as_ref().is_err_and(fault::is_locked);
        let was_blocked = self.blocked.swap(locked, Relaxed);
        // A connection that reported trouble is replaced: it may sit in a half-done transaction.
        // So is one that waits for a moment only.
        if outcome.is_ok() && !was_blocked {
            turn.kept = Some(connection);
        }
        let done = outcome.map_err(|error| fault::of(&error))?;
        // Another process may have set the file aside meanwhile: what was written is nowhere then.
        self.file.check()?;
        Ok(done)
    }

    /// Whether the file was found damaged since it was opened.
    pub(super) fn is_damaged(&self) -> bool {
        self.file.is_damaged()
    }

    fn timeout(&self) -> Duration {
        let timeout = self.file.busy_timeout();
        match self.blocked.load(Relaxed) {
            true => timeout.min(BLOCKED_TIMEOUT),
            false => timeout,
        }
    }

    fn take(&self) -> Result<Turn<'_>, Fault> {
        let (started, timeout) = (Instant::now(), self.timeout());
        let mut place = self.lock();
        while matches!(*place, Place::Taken) {
            let left = timeout.saturating_sub(started.elapsed());
            if left.is_zero() {
                return Err(Fault::away("it is busy with other threads"));
            }
            let waited = self.freed.wait_timeout(place, left);
            place = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        let kept = match std::mem::replace(&mut *place, Place::Taken) {
            Place::Free(connection) => Some(connection),
            Place::Taken | Place::Closed => None,
        };
        Ok(Turn { lane: self, kept })
    }

    fn lock(&self) -> MutexGuard<'_, Place> {
        // Every change of the place is complete before anything can panic.
        self.place.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The right to use the connection; gives it back also when the work panics.
struct Turn<'a> {
    lane: &'a Lane,
    kept: Option<Box<SqliteConnection>>,
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        *self.lane.lock() = match self.kept.take() {
            Some(connection) => Place::Free(connection),
            None => Place::Closed,
        };
        self.lane.freed.notify_one();
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use audit_core::{Payload, QueueError};

    use crate::Journal;
    use crate::queue::journal::statements;

    /// As when another process finds it damaged, and sets it aside.
    #[test]
    fn what_is_written_to_a_file_that_is_taken_away_meanwhile_is_not_acknowledged() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal.db");
        let journal = Journal::builder(&path).open().unwrap();
        let payloads = [Payload::from(b"a".to_vec())];
        let pushed = journal.run(&journal.0.writer, |connection| {
            connection.immediate_transaction(|connection| {
                std::fs::rename(&path, folder.path().join("aside")).unwrap();
                statements::append(connection, &payloads, 1, 10)
            })
        });
        assert!(
            matches!(pushed, Err(QueueError::Misconfigured { .. })),
            "{pushed:?}"
        );
    }
}
