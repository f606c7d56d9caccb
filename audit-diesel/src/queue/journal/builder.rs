//! Setting up a journal.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use audit_core::QueueError;

use super::file::JournalFile;
use super::lane::Lane;
use super::room::Room;
use super::segments::Segments;
use super::{Inner, Journal, statements};
use crate::queue::{Fault, MAX_RECORD_BYTES};

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
    pub(super) fn new(path: PathBuf) -> Self {
        Self {
            path,
            fsync: Fsync::Os,
            max_bytes: 1 << 30,
            max_record_bytes: MAX_RECORD_BYTES,
            full_timeout: Duration::from_millis(100),
            busy_timeout: Duration::from_secs(5),
        }
    }

    /// When a push has reached the disk. Default: [`Fsync::Os`].
    pub fn fsync(mut self, fsync: Fsync) -> Self {
        self.fsync = fsync;
        self
    }

    /// The bound of all waiting payloads together, in bytes; the file is somewhat larger. Where more
    /// than two processes share the journal it may be exceeded, by up to a sixteenth of it, and 64 MiB
    /// at most, for each further one. Default: 1 GiB.
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
    /// writing. Once another process was waited for in vain, as it is suspended, calls that write
    /// are refused after a moment, until it has finished. Default: 5 s.
    pub fn busy_timeout(mut self, timeout: Duration) -> Self {
        self.busy_timeout = timeout;
        self
    }

    /// Opens the journal, and creates it where there is none.
    ///
    /// A journal that is there is only read, so that nobody who writes to it holds this up. The
    /// file is read through and checked, which takes about a second for each GiB of records. A
    /// damaged one is set aside beside the new one, under its name with `.damaged-` and the time;
    /// this is logged as an error, and [`warnings`](audit_core::Queue::warnings) name it until it is removed.
    ///
    /// # Errors
    ///
    /// [`QueueError::Misconfigured`] where the file cannot be a journal: its folder is missing, it
    /// cannot be written, it is something else, or a newer version made it. It is left as it is
    /// then. [`QueueError::Unavailable`] where another process is just creating it and does not
    /// finish, or the disk fails.
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
        let writer = file.connect(self.busy_timeout)?;
        let mut reader = file.connect(self.busy_timeout)?;
        let segments = Segments::beside(file.path(), self.fsync, self.max_bytes)?;
        segments.holds(statements::bytes(&mut reader)?);
        segments.renew();
        Ok(Journal(Arc::new(Inner {
            name: name.to_owned(),
            // Absolute, as the working directory may change.
            path: file.path().to_owned(),
            max_bytes: self.max_bytes,
            max_record_bytes: self.max_record_bytes,
            full_timeout: self.full_timeout,
            room: Room::default(),
            segments,
            writer: Lane::new(file.clone(), writer),
            reader: Lane::new(file, reader),
            logged_bytes: AtomicU64::new(0),
        })))
    }
}
