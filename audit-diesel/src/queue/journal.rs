//! The queue as a SQLite file on this machine.

mod beside;
mod builder;
mod checks;
mod damage;
mod fault;
mod file;
mod lane;
mod prepared;
#[cfg(feature = "redis")]
mod quarantine;
mod room;
mod segments;
#[cfg(feature = "redis")]
mod sent;
mod statements;

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use audit_core::{Backlog, Batch, Payload, Queue, QueueError, QueueStatus, Warning};
use diesel::prelude::*;

use super::{Fault, PEEK_BYTES, total_bytes};
use crate::failpoint::failpoint;
use crate::log::log;
pub use builder::{Fsync, JournalBuilder};
use file::JournalFile;
use lane::Lane;
pub(crate) use prepared::now_ms;
use room::Room;
use segments::{Next, OpenSegment, Segments};
#[cfg(feature = "redis")]
pub(crate) use sent::Claim;

/// What could not be looked for.
#[cfg(feature = "redis")]
fn unreadable(name: &str, error: &QueueError) -> Warning {
    Warning::new(
        name,
        format!("cannot be read: {error}"),
        "see that its folder and its disk can be used",
    )
}

/// A queue in a SQLite file, which outlives the process and needs no server.
///
/// Clones share the same connections, and several processes may share the file: it needs a folder
/// on a local disk, as SQLite's shared memory does not work over a network. The file is for the
/// journal alone, readable by its owner only. Beside it SQLite keeps `…-wal` and `…-shm`, and the
/// journal keeps a folder `…-segments` with what was pushed last: copy or remove all four or none.
///
/// The file does not shrink; space of stored records is used again.
/// Of a push of more than 64 KiB a part may be there where the process dies in the middle of it.
///
/// ```
/// use audit_diesel::{Fsync, Journal, Queue};
///
/// # let folder = std::env::temp_dir().join(format!("audit-doc-{}", std::process::id()));
/// # std::fs::create_dir_all(&folder)?;
/// let journal = Journal::builder(folder.join("audit-journal.db"))
///     .fsync(Fsync::Always)
///     .max_bytes(64 << 20)
///     .open()?;
/// assert!(journal.is_empty()?);
/// # drop(journal);
/// # std::fs::remove_dir_all(&folder)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Journal(Arc<Inner>);

struct Inner {
    name: String,
    path: PathBuf,
    max_bytes: u64,
    max_record_bytes: usize,
    full_timeout: Duration,
    room: Room,
    /// What is not in the tables yet.
    segments: Segments,
    /// Pushes and acknowledgements queue up here rather than in SQLite, whose way to wait for
    /// another writer is to sleep and look again.
    writer: Lane,
    /// A peek at a long backlog holds up no push.
    reader: Lane,
    /// About how much this process has added to the write-ahead log since it was last emptied.
    logged_bytes: AtomicU64,
}

/// Who takes payloads empties the log from here on, so that no push has to wait for the disk.
const LOG_BYTES: u64 = 4 << 20;

/// What a push adds to the log beyond its payloads: the pages that it changes.
const PUSH_OVERHEAD: u64 = 8 << 10;

impl Journal {
    /// A journal in this file, which is created where there is none. The folder must exist.
    pub fn builder(path: impl Into<PathBuf>) -> JournalBuilder {
        JournalBuilder::new(path.into())
    }

    /// Where the journal is.
    pub fn path(&self) -> &Path {
        &self.0.path
    }

    /// How many bytes of payload wait.
    ///
    /// # Errors
    ///
    /// As [`len`](Queue::len).
    pub fn bytes(&self) -> Result<u64, QueueError> {
        self.0.collect()?;
        self.run(&self.0.reader, statements::bytes)
    }

    /// What waits: records that were not carried on, or that are not confirmed.
    fn backlog(&self) -> Result<Backlog, QueueError> {
        // Where the tables cannot be written to, what they hold can be told all the same.
        let _ = self.0.collect();
        self.run(&self.0.reader, |connection| {
            let oldest = statements::peek(connection, 0..i64::MAX, 1, PEEK_BYTES)?;
            let (records, bytes) = (statements::len(connection)?, statements::bytes(connection)?);
            #[cfg_attr(
                not(feature = "redis"),
                expect(unused_mut, reason = "nothing is carried")
            )]
            let mut backlog = Backlog::new(records, bytes, oldest.payloads.first());
            #[cfg(feature = "redis")]
            {
                backlog.carried = records.saturating_sub(sent::count_unsent(connection)?);
            }
            Ok(backlog)
        })
    }

    /// Peeks after what was pushed is in the tables. Where that cannot be written to, what they
    /// hold can be taken all the same.
    fn peek_with(
        &self,
        peek: impl FnOnce(&mut SqliteConnection) -> QueryResult<Batch>,
    ) -> Result<Batch, QueueError> {
        let collected = self.0.collect();
        self.0.empty_log();
        let batch = self.run(&self.0.reader, peek)?;
        if batch.is_empty() {
            collected?;
        }
        Ok(batch)
    }

    fn run<T>(
        &self,
        lane: &Lane,
        work: impl FnOnce(&mut SqliteConnection) -> QueryResult<T>,
    ) -> Result<T, QueueError> {
        self.0.run(lane, work)
    }

    /// Writes payloads once there is room, for which it waits shortly. `write` says whether there
    /// is, for so many bytes within the bound.
    fn take(
        &self,
        payloads: &[Payload],
        write: impl Fn(&mut SqliteConnection, u64, u64) -> QueryResult<bool>,
    ) -> Result<(), QueueError> {
        let max_bytes = self.0.max_bytes;
        let bytes = total_bytes(payloads, self.0.max_record_bytes, || self.name())? as u64;
        self.0.check_damage()?;
        loop {
            let written = self.run(&self.0.writer, |conn| write(conn, bytes, max_bytes))?;
            if written {
                self.0.logged(bytes);
                self.0.room.found();
                return Ok(());
            }
            if bytes > max_bytes || !self.0.room.wait(self.0.full_timeout) {
                return Err(QueueError::Full {
                    queue: self.name(),
                    max_bytes,
                });
            }
        }
    }
}

impl Inner {
    /// Moves what waits in segments, of any process, into the tables.
    fn collect(&self) -> Result<(), QueueError> {
        let collected = self.collect_segments();
        match collected {
            Ok(()) => self.segments.renew(),
            // Nobody may ever come to what is appended: callers are to know.
            Err(QueueError::Misconfigured { .. }) => self.segments.close(),
            Err(_) => {}
        }
        collected
    }

    /// Refuses to write behind damage, where it might never be read.
    fn check_damage(&self) -> Result<(), QueueError> {
        match self.writer.is_damaged() {
            true => Err(fault::damaged().of(self.name.clone())),
            false => Ok(()),
        }
    }

    fn collect_segments(&self) -> Result<(), QueueError> {
        self.check_damage()?;
        if self.segments.is_first_time() {
            self.run(&self.writer, |connection| {
                self.segments.forget_removed(connection)
            })?;
        }
        let waiting = self.segments.waiting();
        for name in waiting.map_err(|error| self.away(&error))? {
            if let Some(mut segment) = self.segments.open(name) {
                self.collect_from(&mut segment)?;
            }
        }
        Ok(())
    }

    /// Moves what this process has pushed into the tables: its segment, or where it has none, or none
    /// any more, all that wait.
    fn collect_own(&self) -> Result<(), QueueError> {
        let Some(own) = self.segments.own_name() else {
            return self.collect();
        };
        self.check_damage()?;
        match self.segments.open(own) {
            Some(mut segment) => self.collect_from(&mut segment),
            None => Ok(()),
        }
    }

    /// Collects what the segment held when it was opened.
    fn collect_from(&self, segment: &mut OpenSegment) -> Result<(), QueueError> {
        loop {
            let part = match self.segments.next_part(segment) {
                Next::Part(part) => part,
                Next::Nothing => break,
                Next::Unreadable => return Ok(()),
            };
            let there = self.run(&self.writer, |connection| {
                self.segments.store(connection, segment, &part)
            })?;
            failpoint!("journal.collected");
            if !there {
                return Ok(());
            }
            self.logged(part.length());
        }
        if segment.is_closed() {
            self.run(&self.writer, |connection| {
                self.segments.remove(connection, segment)
            })?;
        }
        Ok(())
    }

    /// Empties a log that has become long. It is no error where that fails: then a push does it.
    fn empty_log(&self) {
        let logged = &self.logged_bytes;
        if logged.load(Ordering::Relaxed) >= LOG_BYTES {
            logged.store(0, Ordering::Relaxed);
            let _ = self.run(&self.reader, statements::checkpoint);
        }
    }

    fn logged(&self, bytes: u64) {
        let logged = bytes + PUSH_OVERHEAD;
        self.logged_bytes.fetch_add(logged, Ordering::Relaxed);
    }

    fn run<T>(
        &self,
        lane: &Lane,
        work: impl FnOnce(&mut SqliteConnection) -> QueryResult<T>,
    ) -> Result<T, QueueError> {
        lane.run(work).map_err(|fault| fault.of(self.name.clone()))
    }

    fn away(&self, error: &io::Error) -> QueueError {
        Fault::away(error.to_string()).of(self.name.clone())
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.segments.close();
        if let Err(error) = self.collect_segments() {
            log!(debug, %error, "the next one to open the audit journal collects the rest");
        }
    }
}

impl fmt::Debug for Journal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Journal").field(&self.0.path).finish()
    }
}

impl Queue for Journal {
    fn name(&self) -> String {
        self.0.name.clone()
    }

    fn push(&self, payloads: &[Payload]) -> Result<(), QueueError> {
        if payloads.is_empty() {
            return Ok(());
        }
        total_bytes(payloads, self.0.max_record_bytes, || self.name())?;
        failpoint!("journal.before-write");
        self.0.check_damage()?;
        if !self.0.segments.append(payloads) {
            // In the order of the calls: what waits was pushed before. Where that fails, the push
            // says why.
            let _ = self.0.collect_own();
            self.take(payloads, |connection, bytes, max_bytes| {
                let pushed = statements::push(connection, payloads, bytes, max_bytes)?;
                // There may be room for a segment again.
                self.0.segments.holds(statements::bytes(connection)?);
                Ok(pushed)
            })?;
        }
        failpoint!("journal.written");
        Ok(())
    }

    fn peek(&self, limit: usize) -> Result<Batch, QueueError> {
        if limit == 0 {
            return Ok(Batch::default());
        }
        self.peek_with(|connection| statements::peek(connection, 0..i64::MAX, limit, PEEK_BYTES))
    }

    fn ack(&self, batch: &Batch) -> Result<usize, QueueError> {
        if batch.is_empty() {
            return Ok(0);
        }
        let removed = self.run(&self.0.writer, |connection| {
            statements::ack(connection, batch)
        });
        self.0.room.made();
        removed
    }

    fn len(&self) -> Result<u64, QueueError> {
        self.0.collect()?;
        self.run(&self.0.reader, statements::len)
    }

    fn warnings(&self) -> Result<Vec<Warning>, QueueError> {
        let mut warnings = checks::warnings(&self.0.name, &self.0.path);
        warnings.extend(damage::warnings(&self.0.name, &self.0.path));
        warnings.extend(self.0.segments.warnings(&self.0.name));
        #[cfg(feature = "redis")]
        match self.quarantine_warning() {
            Ok(warning) => warnings.extend(warning),
            Err(error) => warnings.push(unreadable(&self.0.name, &error)),
        }
        if self.0.writer.is_damaged() {
            warnings.push(damage::in_use(&self.0.name));
        }
        Ok(warnings)
    }

    fn status(&self) -> QueueStatus {
        let mut status = QueueStatus::default();
        status.journal = Some(self.backlog());
        status
    }
}
