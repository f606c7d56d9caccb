//! What was pushed and is not in the journal's tables yet.
//!
//! A transaction in SQLite costs a caller several times what it costs to append to a plain file.
//! So each process appends to a file of its own, a segment, in a folder beside the journal, and
//! whoever reads the journal first collects the segments into its tables: many pushes in one
//! transaction. A segment needs no owner for that. What was collected from it stands in the tables,
//! so any process can go on with it, also with one whose owner died or is suspended.

mod collected;
mod frame;
mod left;
mod reader;
mod writer;

use std::collections::{BTreeSet, HashMap};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use audit_core::{Payload, Warning};
use diesel::prelude::*;

use super::{Fault, Fsync, damage};
use collected::Outcome;
pub(super) use collected::TABLE;
use left::{Left, Why};
pub(super) use reader::OpenSegment;
use reader::{Opened, Part};
use writer::Segment;

use crate::log::log;

/// The most that waits in this process's segment: 64 MiB, and no more than a sixteenth of the
/// journal's bound. What comes on top goes to the tables, which slows callers down to the pace at
/// which these can be written.
const WAITING_BYTES: u64 = 64 << 20;
const WAITING_SHARE: u64 = 16;

/// About how much is written at once: 1 MiB.
const WRITE_BYTES: usize = 1 << 20;

/// A segment of this length is followed by a new one once it is collected: 1 MiB.
const ENOUGH_BYTES: u64 = 1 << 20;

/// What waits to be collected from a segment.
pub(super) enum Next {
    Part(Part),
    Nothing,
    /// It has to wait.
    Unreadable,
}

/// The segments of a journal, as one process sees them.
#[derive(Debug)]
pub(super) struct Segments {
    journal: PathBuf,
    folder: PathBuf,
    /// Whether this process has one of its own. It has none where a push is to reach the disk, which
    /// takes as long either way; nor where the system keeps others from reading what is locked.
    writes: bool,
    max_bytes: u64,
    current: Mutex<Option<Arc<Segment>>>,
    /// How far each segment is collected, as far as this process has seen.
    collected: Mutex<HashMap<String, u64>>,
    left: Mutex<Left>,
    looked: AtomicBool,
    /// How many bytes of payload the tables held when last looked at.
    journal_bytes: AtomicU64,
}

impl Segments {
    /// The segments of the journal in this file. None is written to before
    /// [`renew`](Self::renew).
    pub(super) fn beside(journal: &Path, fsync: Fsync, max_bytes: u64) -> Result<Self, Fault> {
        let folder = super::beside::beside(journal, "-segments");
        make(&folder).map_err(|error| {
            let folder = folder.display();
            Fault::wrong(format!("the folder {folder} cannot be made: {error}"))
        })?;
        Ok(Self {
            journal: journal.to_owned(),
            folder,
            writes: cfg!(unix) && fsync == Fsync::Os,
            max_bytes,
            current: Mutex::default(),
            collected: Mutex::default(),
            left: Mutex::default(),
            looked: AtomicBool::new(false),
            journal_bytes: AtomicU64::new(0),
        })
    }

    /// Appends a push to this process's segment. False where it has to go to the tables: a payload
    /// is long, the journal is close to its bound, too much waits, or the segment cannot be written.
    pub(super) fn append(&self, payloads: &[Payload]) -> bool {
        let Some(segment) = self.current().clone() else {
            return false;
        };
        let Some(length) = frame::length(payloads) else {
            return false;
        };
        let most = WAITING_BYTES.min(self.max_bytes / WAITING_SHARE);
        // Other processes may have as much waiting.
        let journal_bytes = self.journal_bytes.load(Ordering::Relaxed);
        if journal_bytes.saturating_add(2 * most) > self.max_bytes
            || segment.waiting() + length > most
        {
            return false;
        }
        let appended = append_frames(&segment, payloads);
        if let Err(error) = &appended {
            log!(warn, %error, "a segment of the audit journal cannot be written");
            self.current()
                .take_if(|current| Arc::ptr_eq(current, &segment));
        }
        appended.is_ok()
    }

    /// The names of the segments that have something to collect, or are to be removed. They are
    /// ordered by the time of their making.
    pub(super) fn waiting(&self) -> io::Result<BTreeSet<String>> {
        let own = self.current().clone();
        let mut names = BTreeSet::new();
        let entries = match fs::read_dir(&self.folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(names),
            entries => entries?,
        };
        for entry in entries {
            let entry = entry?;
            if let Ok(name) = entry.file_name().into_string()
                && Segment::is_name(&name)
                && entry.file_type().is_ok_and(|kind| kind.is_file())
            {
                names.insert(name);
            }
        }
        // What others have removed needs no memory any more.
        self.collected_so_far()
            .retain(|name, _| names.contains(name));
        self.left().retain(&names);
        if let Some(own) = own
            && own.length_on_disk()? <= self.collected_of(&own.name)
        {
            names.remove(&own.name);
        }
        Ok(names)
    }

    /// Opens a segment. None where it is gone, or has to wait.
    pub(super) fn open(&self, name: String) -> Option<OpenSegment> {
        match OpenSegment::open(&self.folder, name.clone()) {
            Ok(Opened::Ready(segment)) => return Some(segment),
            Ok(Opened::Gone) => {}
            Ok(Opened::Newer) => self.leave(&name, Why::Newer),
            Err(error) => self.leave(&name, Why::of(&error)),
        }
        None
    }

    /// Leaves a segment alone for now: it must not hold up the others.
    fn leave(&self, name: &str, why: Why) {
        let is_new = self.left().note(name, why);
        if is_new {
            log!(
                error,
                journal = %self.journal.display(),
                segment = name,
                "a segment of the audit journal {}: the records in it wait",
                why.problem()
            );
        }
    }

    /// The name of the segment that this process appends to.
    pub(super) fn own_name(&self) -> Option<String> {
        self.current().as_ref().map(|own| own.name.clone())
    }

    /// Names the segments that are left to others.
    pub(super) fn warnings(&self, subject: &str) -> Vec<Warning> {
        self.left().warnings(subject)
    }

    /// The next part of what a segment held when it was opened.
    pub(super) fn next_part(&self, segment: &mut OpenSegment) -> Next {
        let from = self.collected_of(&segment.name);
        let part = match from < segment.length {
            true => segment.read(from),
            false => return Next::Nothing,
        };
        match part {
            Ok(part) => {
                self.left().forget(&segment.name);
                match part.to > part.from {
                    true => Next::Part(part),
                    false => Next::Nothing,
                }
            }
            Err(error) => {
                self.leave(&segment.name, Why::of(&error));
                Next::Unreadable
            }
        }
    }

    /// Moves a part into the journal's tables. False where the segment is gone.
    pub(super) fn store(
        &self,
        connection: &mut SqliteConnection,
        segment: &OpenSegment,
        part: &Part,
    ) -> QueryResult<bool> {
        let outcome = collected::store(connection, (&segment.name, &segment.path), part)?;
        let to = match outcome {
            Outcome::Gone => return Ok(false),
            Outcome::Before { collected } => collected,
            Outcome::Stored { journal_bytes } => {
                self.holds(journal_bytes);
                part.to
            }
        };
        if let Some(own) = self
            .current()
            .as_ref()
            .filter(|own| own.name == segment.name)
        {
            own.collected(to);
        }
        self.collected_so_far().insert(segment.name.clone(), to);
        Ok(true)
    }

    /// Removes a segment that is collected and closed.
    pub(super) fn remove(
        &self,
        connection: &mut SqliteConnection,
        segment: &OpenSegment,
    ) -> QueryResult<()> {
        let removed = match segment.damaged {
            0 => fs::remove_file(&segment.path),
            _ => damage::set_segment_aside(&self.journal, &segment.path, &segment.name),
        };
        match removed {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                log!(debug, %error, "a collected segment of the audit journal stays for now");
            }
            _ => {
                self.collected_so_far().remove(&segment.name);
                collected::forget(connection, std::slice::from_ref(&segment.name))?;
            }
        }
        Ok(())
    }

    /// Whether this process has yet to look for what others left in the tables.
    pub(super) fn is_first_time(&self) -> bool {
        !self.looked.load(Ordering::Relaxed)
    }

    /// Forgets segments that were removed by a process that died before it could do this.
    pub(super) fn forget_removed(&self, connection: &mut SqliteConnection) -> QueryResult<()> {
        let mut names = collected::names(connection)?;
        names.retain(|name| !self.folder.join(name).exists());
        if !names.is_empty() {
            collected::forget(connection, &names)?;
        }
        self.looked.store(true, Ordering::Relaxed);
        Ok(())
    }

    /// Begins a segment where there is none, or a long one.
    pub(super) fn renew(&self) {
        if !self.writes {
            return;
        }
        let enough = |segment: &Arc<Segment>| segment.length() >= ENOUGH_BYTES;
        if self
            .current()
            .as_ref()
            .is_some_and(|current| !enough(current))
        {
            return;
        }
        match make(&self.folder).and_then(|()| Segment::create(&self.folder)) {
            Ok(segment) => *self.current() = Some(Arc::new(segment)),
            Err(error) => log!(debug, %error, "no segment of the audit journal can be begun"),
        }
    }

    /// Ends this process's segment: what is pushed from now on goes to the tables.
    pub(super) fn close(&self) {
        self.current().take();
    }

    /// Notes how many bytes of payload the tables hold.
    pub(super) fn holds(&self, journal_bytes: u64) {
        self.journal_bytes.store(journal_bytes, Ordering::Relaxed);
    }

    fn collected_of(&self, name: &str) -> u64 {
        self.collected_so_far().get(name).copied().unwrap_or(0)
    }

    fn current(&self) -> MutexGuard<'_, Option<Arc<Segment>>> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn left(&self) -> MutexGuard<'_, Left> {
        self.left.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn collected_so_far(&self) -> MutexGuard<'_, HashMap<String, u64>> {
        self.collected
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// A push that fails half-way goes to the tables as a whole, and half of it is there twice: records
/// have ids, and are stored once.
fn append_frames(segment: &Segment, payloads: &[Payload]) -> io::Result<()> {
    let mut bytes = Vec::new();
    for frame in frame::cut(payloads) {
        frame::encode(frame, &mut bytes);
        if bytes.len() >= WRITE_BYTES {
            segment.append(&bytes)?;
            bytes.clear();
        }
    }
    match bytes.is_empty() {
        true => Ok(()),
        false => segment.append(&bytes),
    }
}

/// Makes the folder where it is not there.
fn make(folder: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    match builder.create(folder) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests;
