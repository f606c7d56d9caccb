//! The queue as a SQLite file on this machine.

mod checks;
mod damage;
mod fault;
mod file;
mod lane;
mod prepared;
#[cfg(feature = "redis")]
mod quarantine;
mod room;
#[cfg(feature = "redis")]
mod sent;
mod statements;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use audit_core::{Batch, Payload, Queue, QueueError, Warning};
use diesel::prelude::*;

use super::{Fault, MAX_RECORD_BYTES, PEEK_BYTES, total_bytes};
use crate::failpoint::failpoint;
use file::JournalFile;
use lane::Lane;
pub(crate) use prepared::now_ms;
use room::Room;
#[cfg(feature = "redis")]
pub(crate) use sent::Claim;

/// When a push has reached the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Fsync {
    /// When the operating system writes it, as it sees fit: a push survives the death of the
    /// process, also by `kill -9`, and a power cut may take the last seconds.
    #[default]
    Os,
    /// Before the push returns: it survives a power cut. A push then takes as long as the disk.
    Always,
}

/// A queue in a SQLite file, which outlives the process and needs no server.
///
/// Clones share the same connections, and several processes may share the file: it needs a folder
/// on a local disk, as SQLite's shared memory does not work over a network. The file is for the
/// journal alone, readable by its owner only. Beside it SQLite keeps `…-wal` and `…-shm`, which
/// belong to it: copy or remove all three or none.
///
/// The file does not shrink; space of stored records is used again.
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
        JournalBuilder {
            path: path.into(),
            fsync: Fsync::Os,
            max_bytes: 1 << 30,
            max_record_bytes: MAX_RECORD_BYTES,
            full_timeout: Duration::from_millis(100),
            busy_timeout: Duration::from_secs(5),
        }
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
        self.run(&self.0.reader, statements::bytes)
    }

    /// Empties a log that has become long. It is no error where that fails: then a push does it.
    fn empty_log(&self) {
        let logged = &self.0.logged_bytes;
        if logged.load(Ordering::Relaxed) >= LOG_BYTES {
            logged.store(0, Ordering::Relaxed);
            let _ = self.run(&self.0.reader, statements::checkpoint);
        }
    }

    fn run<T>(
        &self,
        lane: &Lane,
        work: impl FnOnce(&mut SqliteConnection) -> QueryResult<T>,
    ) -> Result<T, QueueError> {
        lane.run(work).map_err(|fault| fault.of(self.name()))
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
        loop {
            failpoint!("journal.before-write");
            let written = self.run(&self.0.writer, |conn| write(conn, bytes, max_bytes))?;
            failpoint!("journal.written");
            if written {
                let logged = bytes + PUSH_OVERHEAD;
                self.0.logged_bytes.fetch_add(logged, Ordering::Relaxed);
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
        self.take(payloads, |connection, bytes, max_bytes| {
            statements::push(connection, payloads, bytes, max_bytes)
        })
    }

    fn peek(&self, limit: usize) -> Result<Batch, QueueError> {
        if limit == 0 {
            return Ok(Batch::default());
        }
        self.empty_log();
        self.run(&self.0.reader, |connection| {
            statements::peek(connection, 0..i64::MAX, limit, PEEK_BYTES)
        })
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
        self.run(&self.0.reader, statements::len)
    }

    fn warnings(&self) -> Result<Vec<Warning>, QueueError> {
        let mut warnings = checks::warnings(&self.0.name, &self.0.path);
        warnings.extend(damage::warnings(&self.0.name, &self.0.path));
        #[cfg(feature = "redis")]
        warnings.extend(self.quarantine_warning()?);
        Ok(warnings)
    }
}

/// Sets up a [`Journal`].
#[derive(Debug, Clone)]
#[must_use]
pub struct JournalBuilder {
    path: PathBuf,
    fsync: Fsync,
    max_bytes: u64,
    max_record_bytes: usize,
    full_timeout: Duration,
    busy_timeout: Duration,
}

impl JournalBuilder {
    /// When a push has reached the disk. Default: [`Fsync::Os`].
    pub fn fsync(mut self, fsync: Fsync) -> Self {
        self.fsync = fsync;
        self
    }

    /// The bound of all waiting payloads together, in bytes; the file is somewhat larger.
    /// Default: 1 GiB.
    pub fn max_bytes(mut self, bytes: u64) -> Self {
        self.max_bytes = bytes;
        self
    }

    /// The bound of one record, in bytes. Default: 1 MiB.
    pub fn max_record_bytes(mut self, bytes: usize) -> Self {
        self.max_record_bytes = bytes;
        self
    }

    /// How long a push waits for room in a full journal. Once it has been full for so long, pushes
    /// are refused at once, until there is room again. Default: 100 ms.
    pub fn full_timeout(mut self, timeout: Duration) -> Self {
        self.full_timeout = timeout;
        self
    }

    /// How long to wait for this process's other threads, and again for another process that is
    /// writing. Default: 5 s.
    pub fn busy_timeout(mut self, timeout: Duration) -> Self {
        self.busy_timeout = timeout;
        self
    }

    /// Opens the journal, and creates it where there is none.
    ///
    /// The file is read through and checked, which takes about a second for each GiB of records. A
    /// damaged one is set aside beside the new one, under its name with `.damaged-` and the time;
    /// this is logged as an error, and [`warnings`](Queue::warnings) name it until it is removed.
    ///
    /// # Errors
    ///
    /// [`QueueError::Misconfigured`] where the file cannot be a journal: its folder is missing, it
    /// cannot be written, it is something else, or a newer version made it. It is left as it is
    /// then. [`QueueError::Unavailable`] where another process holds it for too long, or
    /// the disk fails.
    pub fn open(self) -> Result<Journal, QueueError> {
        let name = format!("the journal {}", self.path.display());
        self.open_lanes(&name).map_err(|fault| fault.of(name))
    }

    fn open_lanes(&self, name: &str) -> Result<Journal, Fault> {
        let file = Arc::new(JournalFile::create(
            &self.path,
            self.fsync,
            self.busy_timeout,
        )?);
        let writer = file.connect()?;
        let reader = file.connect()?;
        Ok(Journal(Arc::new(Inner {
            name: name.to_owned(),
            path: self.path.clone(),
            max_bytes: self.max_bytes,
            max_record_bytes: self.max_record_bytes,
            full_timeout: self.full_timeout,
            room: Room::default(),
            writer: Lane::new(file.clone(), writer),
            reader: Lane::new(file, reader),
            logged_bytes: AtomicU64::new(0),
        })))
    }
}
