//! A damaged journal is set aside: it may be read by other means, and the application goes on.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use audit_core::Warning;

use super::Fault;
use super::beside::beside;
use crate::log::log;

/// What SQLite writes at the start of a write-ahead log, in either byte order.
const WAL_MAGIC: [[u8; 4]; 2] = [[0x37, 0x7f, 0x06, 0x82], [0x37, 0x7f, 0x06, 0x83]];

const MARK: &str = ".damaged-";

const SEGMENT: &str = "-segment";

/// Whether a file that SQLite does not know as a database was one: its start is blank, as after a
/// power cut, or its log stands beside it. Anything else is somebody's file of another kind.
pub(super) fn was_a_database(path: &Path) -> bool {
    let log = start(&beside(path, "-wal"));
    WAL_MAGIC.iter().any(|magic| log.starts_with(magic))
        || start(path).iter().all(|byte| *byte == 0)
}

fn start(path: &Path) -> Vec<u8> {
    let mut start = Vec::new();
    if let Ok(file) = File::open(path) {
        let _ = file.take(100).read_to_end(&mut start);
    }
    start
}

fn now_ms() -> u128 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| since.as_millis())
}

/// Renames the journal and what SQLite keeps beside it, and says so.
pub(super) fn set_aside(path: &Path) -> Result<(), Fault> {
    let aside = beside(path, &format!("{MARK}{}", now_ms()));
    fs::rename(path, &aside).map_err(|error| {
        Fault::wrong(format!(
            "the file is damaged, and cannot be set aside ({error}): move it and its -wal and \
             -shm files away to start a new one"
        ))
    })?;
    for suffix in ["-wal", "-shm"] {
        // They need not be there, and belong to the damaged file alone.
        let _ = fs::rename(beside(path, suffix), beside(&aside, suffix));
    }
    log!(
        error,
        journal = %path.display(),
        set_aside_as = %aside.display(),
        "the audit journal is damaged: it was set aside and a new one is begun; save what can be \
         read of its records with `sqlite3 FILE .recover`"
    );
    Ok(())
}

/// Renames a segment in whose middle something else than records was found, and says so.
pub(super) fn set_segment_aside(journal: &Path, segment: &Path, name: &str) -> io::Result<()> {
    // Several may be found in one millisecond.
    let aside = beside(journal, &format!("{MARK}{}-{name}{SEGMENT}", now_ms()));
    fs::rename(segment, &aside)?;
    log!(
        error,
        journal = %journal.display(),
        set_aside_as = %aside.display(),
        "a segment of the audit journal is damaged: the records that are whole were taken, and \
         the file was set aside"
    );
    Ok(())
}

/// Says that a journal was found damaged while it was in use.
pub(super) fn say(path: &str) {
    log!(
        error,
        journal = path,
        "the audit journal was found damaged while in use and takes no more records: they go \
         straight to Redis, or wait in memory while that is away; start again as soon as you can, \
         which sets the file aside and begins a new one"
    );
}

/// What is to be known of a journal that was found damaged while it was in use.
pub(super) fn in_use(subject: &str) -> Warning {
    Warning::new(
        subject,
        "was found damaged while in use: it takes no more records, and those that cannot be read \
         any more wait in it",
        "start again, which sets the file aside and begins a new one",
    )
}

/// Names the damaged journals that still lie beside this one.
pub(super) fn warnings(subject: &str, path: &Path) -> Vec<Warning> {
    let (Some(folder), Some(name)) = (path.parent(), path.file_name().and_then(|n| n.to_str()))
    else {
        return Vec::new();
    };
    let prefix = format!("{name}{MARK}");
    let files = fs::read_dir(folder).into_iter().flatten().flatten();
    let names = files.filter_map(|file| file.file_name().into_string().ok());
    let mut aside: Vec<_> = names
        .filter(|name| name.starts_with(&prefix))
        .filter(|name| !name.ends_with("-wal") && !name.ends_with("-shm"))
        .collect();
    aside.sort();
    let warning = |name: String| {
        let (what, way) = if name.ends_with(SEGMENT) {
            ("some records in it", "from the JSON in it")
        } else {
            ("records in it", "with `sqlite3 FILE .recover`")
        };
        Warning::new(
            subject,
            format!("was found damaged and set aside as {name}: {what} were not delivered"),
            format!("save what can be read {way}, then remove the file"),
        )
    };
    aside.into_iter().map(warning).collect()
}
