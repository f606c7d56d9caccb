//! What an error of SQLite means for the journal. Diesel passes on SQLite's words only.

use diesel::result::Error;

use super::Fault;

/// What SQLite says of a file that it cannot make sense of.
pub(super) const NO_DATABASE: &str = "file is not a database";

/// What SQLite says of a database whose parts do not fit together.
pub(super) const MALFORMED: &str = "database disk image is malformed";

/// What SQLite says when it has waited for another writer for as long as it may.
const LOCKED: &str = "database is locked";

/// Whether another process is writing and does not finish.
pub(super) fn is_locked(error: &Error) -> bool {
    error.to_string() == LOCKED
}

/// Whether the file is damaged, given that it was a journal before.
pub(super) fn is_damage(error: &Error) -> bool {
    matches!(&*error.to_string(), MALFORMED | NO_DATABASE)
}

/// What a damaged file means.
pub(super) fn damaged() -> Fault {
    of_words(MALFORMED)
}

/// What the error means.
pub(super) fn of(error: &Error) -> Fault {
    of_words(&error.to_string())
}

/// What SQLite's words mean. The ones that are not named here, such as "disk I/O error", are an
/// outage: waiting, or making room, may heal them.
pub(super) fn of_words(words: &str) -> Fault {
    match words {
        NO_DATABASE => Fault::wrong(
            "the file is something else than a SQLite database, and is left as it is: name \
             another path, or move the file away",
        ),
        MALFORMED => Fault::wrong(
            "the file is damaged: it is set aside at the next start, or move it and its -wal and \
             -shm files away, and save what can be read with `sqlite3 FILE .recover`",
        ),
        "attempt to write a readonly database" | "unable to open database file" => Fault::wrong(
            "the file or its folder cannot be written: check their owner and permissions",
        ),
        LOCKED | "database table is locked" => {
            Fault::away("another process is writing it and does not finish")
        }
        "database or disk is full" => Fault::away("the disk is full"),
        other => Fault::away(other),
    }
}
