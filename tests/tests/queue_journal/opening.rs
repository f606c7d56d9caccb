//! What a journal can be opened at, and what is refused.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use audit_diesel::{Journal, Queue, QueueError};
use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use tempfile::TempDir;

use super::support::*;

fn refused(path: &Path) -> String {
    let error = Journal::builder(path).open().unwrap_err();
    assert!(
        matches!(error, QueueError::Misconfigured { .. }),
        "{error:?}"
    );
    let said = error.to_string();
    assert!(said.contains(&path.display().to_string()), "{said}");
    said
}

#[test]
fn a_new_journal_is_its_owners_only() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("journal.db");
    let journal = open(&path);
    journal.push(&[payload("a")]).unwrap();
    let segments = folder.path().join("journal.db-segments");
    let files = [folder.path(), &segments].map(|folder| fs::read_dir(folder).unwrap());
    for file in files.into_iter().flatten() {
        let file = file.unwrap();
        let mode = file.metadata().unwrap().permissions().mode();
        let expected = if file.path() == segments {
            0o700
        } else {
            0o600
        };
        assert_eq!(mode & 0o777, expected, "{:?}", file.path());
    }
    assert_eq!(journal.path(), path);
    assert_eq!(journal.name(), format!("the journal {}", path.display()));
}

#[test]
fn a_journal_that_others_may_read_or_replace_is_warned_of() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("journal.db");
    let journal = open(&path);
    journal.push(&[payload("a")]).unwrap();
    let problems = || -> Vec<String> {
        let warnings = journal.warnings().unwrap().into_iter();
        let of_files = warnings.map(|warning| warning.problem);
        // The tests themselves may run in a container.
        of_files
            .filter(|problem| !problem.contains("(overlay)"))
            .collect()
    };
    assert_eq!(problems(), [""; 0]);
    for file in ["journal.db", "journal.db-wal", "journal.db-segments"] {
        let file = folder.path().join(file);
        let before = fs::metadata(&file).unwrap().permissions();
        fs::set_permissions(&file, PermissionsExt::from_mode(0o744)).unwrap();
        let found = problems();
        assert_eq!(found.len(), 1, "{found:?}");
        let expected = format!("{} is open to other users (mode 744)", file.display());
        assert_eq!(found[0], expected);
        fs::set_permissions(&file, before).unwrap();
    }
    fs::set_permissions(folder.path(), PermissionsExt::from_mode(0o777)).unwrap();
    let found = problems();
    assert!(found[0].contains("every user may replace it"), "{found:?}");
    fs::set_permissions(folder.path(), PermissionsExt::from_mode(0o1777)).unwrap();
    assert_eq!(problems(), [""; 0]);
}

#[test]
fn a_journal_of_another_user_is_warned_of() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("journal.db");
    let journal = open(&path);
    if std::os::unix::fs::chown(&path, Some(12_345), None).is_err() {
        eprintln!("only root can give a file away: nothing was tested");
        return;
    }
    let warnings = journal.warnings().unwrap();
    let said = warnings.iter().map(|warning| &*warning.problem);
    let of_owner: Vec<_> = said
        .filter(|it| it.contains("belongs to user 12345"))
        .collect();
    assert_eq!(of_owner.len(), 1, "{warnings:?}");
}

#[test]
fn a_symbolic_link_is_no_journal_and_its_target_is_left_as_it_is() {
    for ending in ["", "-wal", "-shm", "-segments"] {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("journal.db");
        let target = folder.path().join("target");
        fs::write(&target, "").unwrap();
        let link = folder.path().join(format!("journal.db{ending}"));
        std::os::unix::fs::symlink(&target, &link).unwrap();
        let said = refused(&path);
        assert!(said.contains("is a symbolic link"), "{said}");
        assert_eq!(fs::read(&target).unwrap(), b"");
        let left = fs::read_dir(folder.path()).unwrap().count();
        assert_eq!(left, 2, "nothing was made beside {ending:?}");
    }
}

#[test]
fn it_holds_what_it_held_when_it_is_opened_again() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("journal.db");
    for round in 0..3 {
        let journal = open(&path);
        journal
            .push(&[payload(round * 2), payload(round * 2 + 1)])
            .unwrap();
    }
    let journal = open(&path);
    assert_eq!(texts(&journal), ["0", "1", "2", "3", "4", "5"]);
    let batch = journal.peek(4).unwrap();
    drop(journal);
    let journal = open(&path);
    assert_eq!(
        journal.ack(&batch).unwrap(),
        4,
        "a receipt outlives the handle"
    );
    assert_eq!(journal.bytes().unwrap(), 2);
    let rest = journal.peek(4).unwrap();
    assert_eq!(journal.ack(&rest).unwrap(), 2);
    drop(journal);
    let journal = open(&path);
    journal.push(&[payload("new"), payload("new")]).unwrap();
    assert_eq!(
        journal.ack(&rest).unwrap(),
        0,
        "an emptied journal starts no second count"
    );
    assert_eq!(journal.ack(&batch).unwrap(), 0);
}

#[test]
fn a_path_where_no_journal_can_be_is_refused() {
    let folder = TempDir::new().unwrap();
    let said = refused(&folder.path().join("missing").join("journal.db"));
    assert!(said.contains("does not exist: create it"), "{said}");
    let said = refused(folder.path());
    assert!(said.contains("is a folder"), "{said}");
    assert!(refused(Path::new("")).contains("empty"));
    // Nobody, root included, can create a file here.
    assert!(refused(Path::new("/proc/self/journal.db")).contains("cannot be written"));
}

#[test]
fn a_file_that_may_not_be_written_is_refused() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("journal.db");
    open(&path);
    fs::set_permissions(&path, fs::Permissions::from_mode(0o400)).unwrap();
    if fs::OpenOptions::new().write(true).open(&path).is_ok() {
        // Root may write it all the same.
        return;
    }
    assert!(refused(&path).contains("cannot be written"));
}

#[test]
fn names_that_sqlite_reads_in_its_own_way_are_just_names() {
    let folder = TempDir::new().unwrap();
    let before = std::env::current_dir().unwrap();
    for name in [":memory:", "file:journal.db?mode=memory", "a b%20'c.db"] {
        // The other tests name whole paths, so that they do not mind.
        std::env::set_current_dir(folder.path()).unwrap();
        let journal = open(Path::new(name));
        std::env::set_current_dir(&before).unwrap();
        journal.push(&[payload("a")]).unwrap();
        assert_eq!(texts(&open(&folder.path().join(name))), ["a"]);
    }
}

#[test]
fn a_file_of_another_kind_is_refused_and_left_as_it_is() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("notes.txt");
    let text = "Not a database. ".repeat(1_000);
    fs::write(&path, &text).unwrap();
    assert!(refused(&path).contains("something else than a SQLite database"));
    assert_eq!(fs::read_to_string(&path).unwrap(), text);
}

#[test]
fn another_database_is_refused_and_left_as_it_is() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("app.db");
    let mut app = SqliteConnection::establish(path.to_str().unwrap()).unwrap();
    app.batch_execute("CREATE TABLE users (id INTEGER)")
        .unwrap();
    let before = fs::read(&path).unwrap();
    assert!(refused(&path).contains("other tables"));
    assert!(fs::read(&path).unwrap() == before);
}

#[test]
fn a_journal_of_a_newer_version_is_refused() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("journal.db");
    open(&path).push(&[payload("a")]).unwrap();
    let mut raw = SqliteConnection::establish(path.to_str().unwrap()).unwrap();
    raw.batch_execute("UPDATE audit_journal_state SET version = 2")
        .unwrap();
    let said = refused(&path);
    assert!(
        said.contains("version 2") && said.contains("upgrade"),
        "{said}"
    );
}

/// Opening a file and closing it releases the locks that SQLite holds on it for the process, by
/// which other processes know that the log is in use.
#[test]
fn opening_it_twice_does_not_give_up_the_locks() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("journal.db");
    let _first = open(&path);
    let file = format!(":{} ", fs::metadata(&path).unwrap().ino());
    let locks = || {
        let locks = fs::read_to_string("/proc/locks").unwrap();
        locks.lines().filter(|line| line.contains(&file)).count()
    };
    let held = locks();
    assert!(held > 0);
    let _second = open(&path);
    assert_eq!(locks(), held);
}
