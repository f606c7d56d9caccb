//! The segment that this process appends to.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use uuid::Uuid;
use uuid::fmt::Simple;

use super::frame::FILE_HEAD;

/// A segment's name until it is locked: nobody looks at it before.
const UNFINISHED: &str = ".new";

/// A segment that is appended to. It is locked as long as it is open, which tells every process
/// whether more can come; the system takes the lock away from a process that dies.
#[derive(Debug)]
pub(super) struct Segment {
    file: File,
    pub(super) name: String,
    length: AtomicU64,
    collected: AtomicU64,
}

impl Segment {
    pub(super) fn create(folder: &Path) -> io::Result<Self> {
        let name = Uuid::now_v7().simple().to_string();
        let unfinished = folder.join(format!("{name}{UNFINISHED}"));
        let mut options = OpenOptions::new();
        options.append(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let mut file = options.open(&unfinished)?;
        let ready = (|| {
            file.try_lock()?;
            file.write_all(FILE_HEAD)?;
            std::fs::rename(&unfinished, folder.join(&name))
        })();
        if ready.is_err() {
            let _ = std::fs::remove_file(&unfinished);
        }
        ready.map(|()| Self {
            file,
            name,
            length: AtomicU64::new(FILE_HEAD.len() as u64),
            collected: AtomicU64::new(0),
        })
    }

    /// Whether a name in the folder is that of a segment.
    pub(super) fn is_name(name: &str) -> bool {
        name.len() == Simple::LENGTH && Uuid::try_parse(name).is_ok()
    }

    /// Appends frames in one write, which the system keeps apart from the others'. After an error a
    /// part of them may be there, and the segment is not to be used any more.
    pub(super) fn append(&self, frames: &[u8]) -> io::Result<()> {
        let written = (&self.file).write(frames)?;
        self.length.fetch_add(written as u64, Ordering::Relaxed);
        if written < frames.len() {
            return Err(io::ErrorKind::WriteZero.into());
        }
        if is_removed(&self.file)? {
            return Err(io::ErrorKind::NotFound.into());
        }
        Ok(())
    }

    pub(super) fn length(&self) -> u64 {
        self.length.load(Ordering::Relaxed)
    }

    /// With what another process has appended that was forked from this one.
    pub(super) fn length_on_disk(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    /// How many of its bytes wait.
    pub(super) fn waiting(&self) -> u64 {
        let collected = self.collected.load(Ordering::Relaxed);
        self.length().saturating_sub(collected)
    }

    pub(super) fn collected(&self, to: u64) {
        self.collected.store(to, Ordering::Relaxed);
    }
}

/// Whether the file has no name any more, so that nobody could read what is written to it.
#[cfg(unix)]
fn is_removed(file: &File) -> io::Result<bool> {
    use std::os::unix::fs::MetadataExt;
    Ok(file.metadata()?.nlink() == 0)
}

#[cfg(not(unix))]
fn is_removed(_: &File) -> io::Result<bool> {
    Ok(false)
}
