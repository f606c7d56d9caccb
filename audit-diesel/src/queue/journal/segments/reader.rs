//! Reading a segment, of whichever process.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use audit_core::Payload;

use super::frame::{ANY_VERSION, FILE_HEAD, Found, LONGEST, decode, find};

/// How much is read, and stored, at once: 1 MiB. It holds more than one frame.
const PART: usize = 16 * LONGEST;

/// A segment that is read.
#[derive(Debug)]
pub(in crate::queue::journal) struct OpenSegment {
    file: File,
    pub(super) name: String,
    pub(super) path: PathBuf,
    is_closed: bool,
    /// How long it was when it was opened. Who collects goes no further, or would never come to an
    /// end while others push.
    pub(super) length: u64,
    /// Bytes in the middle that make no frame.
    pub(super) damaged: u64,
}

/// What came of opening a segment.
pub(super) enum Opened {
    Ready(OpenSegment),
    /// Somebody has removed it.
    Gone,
    /// A newer version made it.
    Newer,
}

/// What stands in a segment from a place on.
#[derive(Debug)]
pub(in crate::queue::journal) struct Part {
    pub(super) payloads: Vec<Payload>,
    /// Where it begins and ends in the file.
    pub(super) from: u64,
    pub(super) to: u64,
}

impl Part {
    /// How many bytes it takes.
    pub(in crate::queue::journal) fn length(&self) -> u64 {
        self.to - self.from
    }
}

impl OpenSegment {
    /// Opens a segment.
    pub(super) fn open(folder: &Path, name: String) -> io::Result<Opened> {
        let path = folder.join(&name);
        let mut file = match File::open(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Opened::Gone),
            file => file?,
        };
        // Who finds it unlocked keeps the lock while reading; to others it looks as if in use.
        let is_closed = file.try_lock().is_ok();
        let mut head = Vec::new();
        (&mut file)
            .take(FILE_HEAD.len() as u64)
            .read_to_end(&mut head)?;
        if head != FILE_HEAD && head.starts_with(ANY_VERSION) {
            return Ok(Opened::Newer);
        }
        let length = file.metadata()?.len();
        Ok(Opened::Ready(Self {
            length,
            file,
            name,
            path,
            is_closed,
            damaged: 0,
        }))
    }

    /// Whether nobody appends to it any more.
    pub(in crate::queue::journal) fn is_closed(&self) -> bool {
        self.is_closed
    }

    /// Reads what there is from a place on, as far as it is one part.
    pub(super) fn read(&mut self, from: u64) -> io::Result<Part> {
        let from = from.max(FILE_HEAD.len() as u64);
        let mut bytes = Vec::new();
        self.file.seek(SeekFrom::Start(from))?;
        (&mut self.file).take(PART as u64).read_to_end(&mut bytes)?;
        let mut part = Part {
            payloads: Vec::new(),
            from,
            to: from,
        };
        let mut at = 0;
        while at < bytes.len() {
            match decode(&bytes[at..]) {
                Found::Frame { payloads, length } => {
                    part.payloads.extend(payloads);
                    at += length;
                }
                // It is being written.
                Found::Cut | Found::Wrong if !self.is_closed => break,
                // The next part has more of it.
                Found::Cut | Found::Wrong if bytes.len() == PART && at > 0 => break,
                Found::Cut | Found::Wrong => at += self.skip(&bytes[at..]),
            }
        }
        part.to = from + at as u64;
        Ok(part)
    }

    /// How far to go on behind bytes that make no frame. Those at the end are a push that was cut
    /// off with its process, and had not been acknowledged.
    fn skip(&mut self, bytes: &[u8]) -> usize {
        let (skipped, is_torn) = match find(&bytes[1..]) {
            Some(place) => (1 + place, false),
            None if bytes.len() < PART => (bytes.len(), true),
            // A frame may begin near the end of what was read.
            None => (PART - LONGEST, false),
        };
        if !is_torn {
            self.damaged += skipped as u64;
        }
        skipped
    }
}
