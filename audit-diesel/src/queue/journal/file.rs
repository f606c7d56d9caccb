//! The journal's file: creating it, checking it, connecting to it.

use std::fs::OpenOptions;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use diesel::connection::{InstrumentationEvent, SimpleConnection};
use diesel::prelude::*;
use diesel::result::Error;

use super::beside::{BESIDE, beside};
use super::{Fault, Fsync, damage, fault, prepared, segments, statements};

/// The form of the tables that this crate writes, and the newest that it reads.
const VERSION: i64 = 1;

const TABLES: &str = "
CREATE TABLE audit_journal_state (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    version INTEGER NOT NULL,
    next_seq INTEGER NOT NULL,
    bytes INTEGER NOT NULL,
    -- What is numbered lower was carried on, and waits to be confirmed.
    sent_to INTEGER NOT NULL,
    -- Which of the processes carries the journal on, and until when in milliseconds since 1970.
    carrier INTEGER NOT NULL,
    carrier_until INTEGER NOT NULL
);
INSERT INTO audit_journal_state VALUES (1, 1, 1, 0, 1, 0, 0);
CREATE TABLE audit_journal (
    seq INTEGER PRIMARY KEY,
    payload BLOB NOT NULL
);
";

/// How long the write-ahead log may get before a push itself moves it into the file, which waits
/// for the disk: 64 MiB. Whoever takes payloads from the journal does so long before.
const LONGEST_LOG_PAGES: u32 = 16_384;

/// A file that was found to be a journal.
pub(super) struct JournalFile {
    /// Absolute: a change of the working directory must not lead to another file, and SQLite
    /// reads names such as `:memory:` and `file:…` in ways of its own.
    path: String,
    identity: Identity,
    fsync: Fsync,
    busy_timeout: Duration,
    damaged: AtomicBool,
}

/// Device and number of the file, where the system has them.
type Identity = Option<(u64, u64)>;

impl JournalFile {
    pub(super) fn create(path: &Path, fsync: Fsync, busy_timeout: Duration) -> Result<Self, Fault> {
        let path = usable(path)?;
        // Twice at most: a file that was just begun is sound.
        match Self::examine(&path, fsync, busy_timeout)? {
            Examined::Sound(file) => Ok(file),
            Examined::Damaged(identity) => {
                // Another process may have set it aside meanwhile, and begun a new one.
                if identify(&path).is_ok_and(|found| found == identity) {
                    damage::set_aside(&path)?;
                }
                match Self::examine(&path, fsync, busy_timeout)? {
                    Examined::Sound(file) => Ok(file),
                    Examined::Damaged(_) => Err(Fault::wrong("the file is damaged again at once")),
                }
            }
        }
    }

    fn examine(path: &Path, fsync: Fsync, busy_timeout: Duration) -> Result<Examined, Fault> {
        touch(path)?;
        let identity = identify(path)?;
        let name = path.to_str();
        let name = name.ok_or_else(|| Fault::wrong("its path is not valid UTF-8"))?;
        let file = Self {
            path: name.to_owned(),
            identity,
            fsync,
            busy_timeout,
            damaged: AtomicBool::new(false),
        };
        let found = match look_or_create(&mut file.open(busy_timeout)?) {
            Err(error) if is_damage(&error, path) => Ok(Tables::Damaged),
            found => found,
        };
        match found? {
            Tables::Ready => Ok(Examined::Sound(file)),
            Tables::Damaged => Ok(Examined::Damaged(identity)),
            Tables::Newer(version) => Err(Fault::wrong(format!(
                "version {version} of the journal's tables was made by a newer audit-diesel, and \
                 this one knows {VERSION}: upgrade it"
            ))),
            Tables::Foreign | Tables::Missing => Err(Fault::wrong(
                "the file holds other tables: name a file that is for the journal alone",
            )),
        }
    }

    pub(super) fn path(&self) -> &Path {
        Path::new(&self.path)
    }

    pub(super) fn busy_timeout(&self) -> Duration {
        self.busy_timeout
    }

    /// Refuses a file that was removed or replaced while in use. SQLite would go on writing to
    /// what nobody can open any more, or make a new file, and what was pushed would be gone
    /// without a word.
    pub(super) fn check(&self) -> Result<(), Fault> {
        match identify(Path::new(&self.path)) {
            Ok(identity) if identity == self.identity => Ok(()),
            _ => Err(Fault::wrong(
                "its file was removed or replaced while in use: put it back, or start again",
            )),
        }
    }

    /// Remembers that SQLite can make no sense of the file any more, and says so once.
    pub(super) fn noticed(&self, error: &Error) {
        if fault::is_damage(error) && !self.damaged.swap(true, Relaxed) {
            damage::say(&self.path);
        }
    }

    pub(super) fn is_damaged(&self) -> bool {
        self.damaged.load(Relaxed)
    }

    /// A connection to the journal, which waits so long for another process that is writing.
    pub(super) fn connect(&self, busy_timeout: Duration) -> Result<SqliteConnection, Fault> {
        self.check()?;
        let mut connection = self.open(busy_timeout)?;
        self.use_wal(&mut connection)?;
        Ok(connection)
    }

    fn open(&self, busy_timeout: Duration) -> Result<SqliteConnection, Fault> {
        let mut connection =
            SqliteConnection::establish(&self.path).map_err(|error| match error {
                ConnectionError::BadConnection(words) => fault::of_words(&words),
                other => Fault::away(other.to_string()),
            })?;
        // An instrumentation for all of the application's connections would see payloads, and
        // might write to the journal itself.
        connection.set_instrumentation(|_: InstrumentationEvent<'_>| {});
        let busy_ms = busy_timeout.as_millis().min(i32::MAX as u128);
        connection.batch_execute(&format!("PRAGMA busy_timeout = {busy_ms}"))?;
        Ok(connection)
    }

    fn use_wal(&self, connection: &mut SqliteConnection) -> Result<(), Fault> {
        let synchronous = match self.fsync {
            Fsync::Os => "NORMAL",
            Fsync::Always => "FULL",
        };
        let mode = statements::journal_mode_wal(connection).inspect_err(|e| self.noticed(e))?;
        if mode != "wal" {
            return Err(Fault::wrong(
                "its file system does not support SQLite's WAL: put it on a local disk",
            ));
        }
        connection.batch_execute(&format!(
            "PRAGMA synchronous = {synchronous}; PRAGMA journal_size_limit = 67108864; \
             PRAGMA wal_autocheckpoint = {LONGEST_LOG_PAGES}"
        ))?;
        Ok(())
    }
}

/// What was found at the journal's place.
enum Examined {
    Sound(JournalFile),
    Damaged(Identity),
}

fn is_damage(error: &Error, path: &Path) -> bool {
    match &*error.to_string() {
        fault::MALFORMED => true,
        fault::NO_DATABASE => damage::was_a_database(path),
        _ => false,
    }
}

/// What a file holds.
enum Tables {
    Ready,
    Damaged,
    Newer(i64),
    Foreign,
    Missing,
}

/// Only a new file is written to: the process that is just writing to a journal may be suspended,
/// and must not keep others from their start.
fn look_or_create(connection: &mut SqliteConnection) -> QueryResult<Tables> {
    match connection.transaction(look)? {
        Tables::Missing => connection.immediate_transaction(create),
        Tables::Ready => may_write(connection).map(|()| Tables::Ready),
        found => Ok(found),
    }
}

/// Fails where the file may only be read, and waits for nobody to find that out.
fn may_write(connection: &mut SqliteConnection) -> QueryResult<()> {
    connection.batch_execute("PRAGMA busy_timeout = 0")?;
    // There is no such row; to begin a transaction would not do, which is for reading then.
    match connection.batch_execute("DELETE FROM audit_journal_state WHERE id = 0") {
        Err(error) if fault::is_locked(&error) => Ok(()),
        tried => tried,
    }
}

fn look(connection: &mut SqliteConnection) -> QueryResult<Tables> {
    Ok(match statements::version(connection)? {
        Some(version) if version > VERSION => Tables::Newer(version),
        Some(_) if !statements::is_sound(connection)? => Tables::Damaged,
        Some(_) => Tables::Ready,
        None if statements::has_tables(connection)? => Tables::Foreign,
        None => Tables::Missing,
    })
}

/// Creates the tables, unless another process has done so meanwhile.
fn create(connection: &mut SqliteConnection) -> QueryResult<Tables> {
    match look(connection)? {
        Tables::Missing => {
            connection.batch_execute(TABLES)?;
            connection.batch_execute(prepared::TABLE)?;
            connection.batch_execute(segments::TABLE)?;
            Ok(Tables::Ready)
        }
        found => Ok(found),
    }
}

/// The absolute path, if a file can be there.
fn usable(path: &Path) -> Result<PathBuf, Fault> {
    if path.as_os_str().is_empty() {
        return Err(Fault::wrong("its path is empty"));
    }
    let path = std::path::absolute(path).map_err(|error| Fault::wrong(error.to_string()))?;
    if path.is_dir() {
        return Err(Fault::wrong("its path is a folder: name a file in it"));
    }
    match path.parent() {
        Some(folder) if !folder.is_dir() => Err(Fault::wrong(format!(
            "the folder {} does not exist: create it",
            folder.display()
        ))),
        _ => refuse_links(&path).map(|()| path),
    }
}

/// Whoever can put a symbolic link at the journal's place has records written to a place of theirs, or
/// a file of somebody else overwritten.
fn refuse_links(path: &Path) -> Result<(), Fault> {
    for ending in BESIDE {
        let file = beside(path, ending);
        if file.is_symlink() {
            return Err(Fault::wrong(format!(
                "{} is a symbolic link: name the file that is meant, and see who made the link",
                file.display()
            )));
        }
    }
    Ok(())
}

/// Creates the file where there is none, before SQLite would with wider permissions. A file that
/// is there is not opened: closing it would release the locks that SQLite holds on it for this
/// process, and another process could remove the log that is being written.
fn touch(path: &Path) -> Result<(), Fault> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    match options.open(path) {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::StorageFull => {
            Err(Fault::away("the disk is full"))
        }
        Err(error) => Err(Fault::wrong(format!("the file cannot be written: {error}"))),
    }
}

fn identify(path: &Path) -> Result<Identity, Fault> {
    let found = std::fs::metadata(path);
    let found = found.map_err(|error| Fault::wrong(format!("the file cannot be read: {error}")))?;
    #[cfg(unix)]
    let identity = {
        use std::os::unix::fs::MetadataExt;
        Some((found.dev(), found.ino()))
    };
    #[cfg(not(unix))]
    let identity = found.is_file().then_some((0, 0));
    Ok(identity)
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        fault::of(&error)
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use diesel::sql_types::Integer;

    #[derive(QueryableByName)]
    struct Synchronous {
        #[diesel(sql_type = Integer)]
        synchronous: i32,
    }

    /// No test can cut the power: that SQLite was asked is what can be checked.
    #[test]
    fn sqlite_is_asked_for_the_fsync_that_was_chosen() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal.db");
        for (fsync, expected) in [(Fsync::Os, 1), (Fsync::Always, 2)] {
            let file = JournalFile::create(&path, fsync, Duration::from_secs(5)).ok();
            let file = file.unwrap();
            let mut connection = file.connect(file.busy_timeout()).ok().unwrap();
            let pragma = diesel::sql_query("PRAGMA synchronous");
            let row: Synchronous = pragma.get_result(&mut connection).unwrap();
            assert_eq!(row.synchronous, expected, "{fsync:?}");
        }
    }
}
