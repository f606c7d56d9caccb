//! The journal: what it survives, and what it refuses to be.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use audit_diesel::{Fsync, Journal, Payload, Queue, QueueError};
use diesel::connection::{InstrumentationEvent, SimpleConnection};
use diesel::prelude::*;
use tempfile::TempDir;

fn open(path: &Path) -> Journal {
    Journal::builder(path).open().unwrap()
}

fn payload(text: impl ToString) -> Payload {
    Payload::from(text.to_string().into_bytes())
}

fn texts(journal: &Journal) -> Vec<String> {
    let batch = journal.peek(usize::MAX).unwrap();
    let text = |payload: &Payload| String::from_utf8(payload.as_bytes().to_vec()).unwrap();
    batch.payloads.iter().map(text).collect()
}

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
    for file in fs::read_dir(folder.path()).unwrap() {
        let file = file.unwrap();
        let mode = file.metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{:?}", file.path());
    }
    assert_eq!(journal.path(), path);
    assert_eq!(journal.name(), format!("the journal {}", path.display()));
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

/// A journal of many records, and what it is to become.
fn damaged(damage: impl FnOnce(&fs::File, u64)) -> (TempDir, std::path::PathBuf) {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("journal.db");
    let journal = open(&path);
    let many: Vec<_> = (0..500)
        .map(|n| Payload::from(vec![n as u8; 500]))
        .collect();
    journal.push(&many).unwrap();
    drop(journal);
    let file = fs::OpenOptions::new().write(true).open(&path).unwrap();
    let size = file.metadata().unwrap().len();
    damage(&file, size);
    (folder, path)
}

/// Damaged journals are set aside whole and named, and a new one works.
fn is_set_aside(folder: &TempDir, path: &Path) {
    let before = fs::read(path).unwrap();
    let journal = open(path);
    journal.push(&[payload("new")]).unwrap();
    assert_eq!(texts(&journal), ["new"]);
    let names = fs::read_dir(folder.path()).unwrap();
    let names = names.map(|file| file.unwrap().file_name().into_string().unwrap());
    let aside: Vec<_> = names.filter(|name| name.contains(".damaged-")).collect();
    let [aside] = &aside[..] else {
        panic!("{aside:?}");
    };
    assert!(fs::read(folder.path().join(aside)).unwrap() == before);
    for journal in [journal, open(path)] {
        let warnings = journal.warnings().unwrap();
        let told = warnings.iter().any(|w| w.to_string().contains(&**aside));
        assert!(told, "{warnings:?}");
    }
    fs::remove_file(folder.path().join(aside)).unwrap();
    assert_eq!(open(path).warnings().unwrap(), []);
}

#[test]
fn a_damaged_file_is_set_aside_and_named() {
    let pages = |file: &fs::File, size: u64| {
        for page in 2..size / 4096 {
            file.write_all_at(&[0xa5; 4096], page * 4096).unwrap();
        }
    };
    let (folder, path) = damaged(pages);
    is_set_aside(&folder, &path);
}

#[test]
fn one_damaged_page_in_the_middle_is_noticed() {
    let page = |file: &fs::File, size: u64| {
        let middle = size / 8192 * 4096;
        file.write_all_at(&[0xa5; 4096], middle).unwrap();
    };
    let (folder, path) = damaged(page);
    is_set_aside(&folder, &path);
}

#[test]
fn a_torn_file_is_set_aside() {
    let cut = |file: &fs::File, size: u64| file.set_len(size / 2).unwrap();
    let (folder, path) = damaged(cut);
    is_set_aside(&folder, &path);
    let blank = |file: &fs::File, _| file.write_all_at(&[0; 4096], 0).unwrap();
    let (folder, path) = damaged(blank);
    is_set_aside(&folder, &path);
}

/// Opening a file and closing it releases the locks that SQLite holds on it for the process, by
/// which other processes know that the log is in use.
#[test]
fn opening_it_twice_does_not_give_up_the_locks() {
    use std::os::unix::fs::MetadataExt;
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

#[test]
fn a_file_that_was_removed_or_replaced_is_noticed() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("journal.db");
    let journal = open(&path);
    journal.push(&[payload("a")]).unwrap();
    let aside = folder.path().join("aside");
    fs::rename(&path, &aside).unwrap();
    let noticed = |error: QueueError| {
        assert!(
            matches!(error, QueueError::Misconfigured { .. }),
            "{error:?}"
        );
        assert!(error.to_string().contains("removed or replaced"), "{error}");
    };
    noticed(journal.push(&[payload("b")]).unwrap_err());
    noticed(journal.peek(1).unwrap_err());
    assert!(!path.exists(), "it is not made again");
    fs::write(&path, "").unwrap();
    noticed(journal.push(&[payload("b")]).unwrap_err());
    fs::rename(&aside, &path).unwrap();
    journal.push(&[payload("b")]).unwrap();
    assert_eq!(texts(&journal), ["a", "b"]);
}

#[test]
fn a_full_journal_refuses_and_takes_again() {
    let folder = TempDir::new().unwrap();
    let journal = Journal::builder(folder.path().join("journal.db"))
        .max_bytes(10)
        .open()
        .unwrap();
    journal.push(&[payload("12345"), payload("1234")]).unwrap();
    let full = journal.push(&[payload("1"), payload("2")]).unwrap_err();
    assert!(
        matches!(full, QueueError::Full { max_bytes: 10, .. }),
        "{full:?}"
    );
    assert_eq!(journal.len().unwrap(), 2, "nothing of a refused push");
    journal.push(&[payload("1")]).unwrap();
    assert_eq!(journal.bytes().unwrap(), 10);
    let more = journal.push(&[payload("12345678901")]).unwrap_err();
    assert!(matches!(more, QueueError::Full { .. }));
    assert_eq!(journal.ack(&journal.peek(1).unwrap()).unwrap(), 1);
    journal.push(&[payload("54321")]).unwrap();
    assert_eq!(texts(&journal), ["1234", "1", "54321"]);
}

#[test]
fn an_oversized_record_is_refused() {
    let folder = TempDir::new().unwrap();
    let journal = Journal::builder(folder.path().join("j.db"))
        .max_record_bytes(3)
        .open()
        .unwrap();
    journal.push(&[payload("123")]).unwrap();
    let error = journal.push(&[payload("1"), payload("1234")]).unwrap_err();
    assert!(matches!(
        error,
        QueueError::TooLarge {
            bytes: 4,
            max_bytes: 3,
            ..
        }
    ));
    assert_eq!(journal.len().unwrap(), 1);
}

#[test]
fn a_peek_is_bounded_in_bytes() {
    let folder = TempDir::new().unwrap();
    let journal = open(&folder.path().join("journal.db"));
    let large: Vec<_> = (0..20).map(|n| Payload::from(vec![n; 1 << 20])).collect();
    journal.push(&large).unwrap();
    let mut seen = Vec::new();
    while let batch = journal.peek(100).unwrap()
        && !batch.is_empty()
    {
        assert!(batch.len() <= 8, "{} MiB at once", batch.len());
        assert_eq!(journal.ack(&batch).unwrap(), batch.len());
        seen.extend(batch.payloads);
    }
    assert_eq!(seen, large);
    assert_eq!(journal.bytes().unwrap(), 0);
}

#[test]
fn rows_removed_by_hand_end_a_batch() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("journal.db");
    let journal = open(&path);
    journal
        .push(&["1", "2", "3", "4", "5"].map(payload))
        .unwrap();
    let mut raw = SqliteConnection::establish(path.to_str().unwrap()).unwrap();
    raw.batch_execute("DELETE FROM audit_journal WHERE seq = 3")
        .unwrap();
    let batch = journal.peek(10).unwrap();
    assert_eq!(batch.len(), 2);
    assert_eq!(journal.ack(&batch).unwrap(), 2);
    assert_eq!(texts(&journal), ["4", "5"]);
}

#[test]
fn two_handles_share_a_file() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("journal.db");
    let handles = [open(&path), open(&path)];
    thread::scope(|scope| {
        for (handle, journal) in handles.iter().enumerate() {
            for thread in 0..2 {
                scope.spawn(move || {
                    for number in 0..50 {
                        let text = format!("{handle}-{thread}-{number:02}");
                        journal.push(&[payload(text)]).unwrap();
                    }
                });
            }
        }
    });
    let seen = texts(&handles[0]);
    assert_eq!(seen.len(), 200);
    for prefix in ["0-0", "0-1", "1-0", "1-1"] {
        let own: Vec<_> = seen
            .iter()
            .filter(|text| text.starts_with(prefix))
            .collect();
        assert!(own.is_sorted() && own.len() == 50, "{own:?}");
    }
    let [first, second] = handles.map(|journal| (journal.peek(60).unwrap(), journal));
    assert_eq!(first.1.ack(&first.0).unwrap(), 60);
    assert_eq!(
        second.1.ack(&second.0).unwrap(),
        0,
        "the other handle was faster"
    );
    assert_eq!(second.1.len().unwrap(), 140);
}

#[test]
fn an_instrumentation_of_the_application_sees_nothing_of_it() {
    static SEEN: AtomicUsize = AtomicUsize::new(0);
    diesel::connection::set_default_instrumentation(|| {
        Some(Box::new(|event: InstrumentationEvent<'_>| {
            if let InstrumentationEvent::StartQuery { query, .. } = event {
                let ours = query.to_string().contains("audit_journal (");
                SEEN.fetch_add(usize::from(ours), Ordering::SeqCst);
            }
        }))
    })
    .unwrap();
    let folder = TempDir::new().unwrap();
    let journal = open(&folder.path().join("journal.db"));
    journal.push(&[payload("a")]).unwrap();
    assert_eq!(SEEN.load(Ordering::SeqCst), 0);
}

#[test]
fn waiting_for_another_writer_is_bounded() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("journal.db");
    let journal = Journal::builder(&path)
        .busy_timeout(Duration::from_secs(1))
        .open()
        .unwrap();
    let mut other = SqliteConnection::establish(path.to_str().unwrap()).unwrap();
    other.batch_execute("BEGIN IMMEDIATE").unwrap();
    let start = Instant::now();
    thread::scope(|scope| {
        for _ in 0..100 {
            scope.spawn(|| {
                let error = journal.push(&[payload("a")]).unwrap_err();
                assert!(matches!(error, QueueError::Unavailable { .. }), "{error:?}");
            });
        }
    });
    // All at once: one after the other would take them 100 s.
    let took = start.elapsed();
    assert!(took < Duration::from_secs(50), "{took:?}");
    assert!(journal.is_empty().unwrap(), "a peek waits for no writer");
    other.batch_execute("COMMIT").unwrap();
    journal.push(&[payload("a")]).unwrap();
    assert_eq!(texts(&journal), ["a"]);
}

/// Not a test of its own: it pushes `FROM`, `FROM + 1`, … into the journal that the environment
/// names, and writes each number that was acknowledged to its output, until it is killed.
#[test]
#[ignore = "a child process of other tests"]
fn child() {
    let Ok(path) = std::env::var("AUDIT_TEST_JOURNAL") else {
        return;
    };
    let from: u64 = std::env::var("AUDIT_TEST_FROM").unwrap().parse().unwrap();
    let journal = open(Path::new(&path));
    let mut out = std::io::stdout();
    for number in from.. {
        while let Err(error) = journal.push(&[payload(number)]) {
            writeln!(out, "failed: {error:?}").unwrap();
            thread::sleep(Duration::from_millis(50));
        }
        writeln!(out, "pushed: {number}").unwrap();
    }
}

fn child_command(command: &mut Command, path: &Path, from: u64) -> Child {
    command
        .env("AUDIT_TEST_JOURNAL", path)
        .env("AUDIT_TEST_FROM", from.to_string())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

fn pushed(line: &str) -> Option<u64> {
    line.strip_prefix("pushed: ")?.parse().ok()
}

const CHILD_ARGS: [&str; 4] = ["child", "--exact", "--ignored", "--nocapture"];

#[test]
fn kill_9_loses_nothing_that_was_acknowledged() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("journal.db");
    let mut next = 0;
    for round in 0..8 {
        let mut command = Command::new(std::env::current_exe().unwrap());
        let mut child = child_command(command.args(CHILD_ARGS), &path, next);
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let enough = next + 20 + round * 61;
        let reached = |line: &String| pushed(line).is_some_and(|number| number >= enough);
        assert!(
            lines
                .by_ref()
                .map_while(Result::ok)
                .any(|line| reached(&line))
        );
        child.kill().unwrap();
        child.wait().unwrap();
        let last = lines
            .map_while(Result::ok)
            .filter_map(|line| pushed(&line))
            .last();
        let acknowledged = last.unwrap_or(enough);

        let seen = texts(&open(&path));
        assert!(
            seen.len() as u64 > acknowledged,
            "{} of {acknowledged}",
            seen.len()
        );
        assert!(
            seen.iter()
                .enumerate()
                .all(|(n, text)| *text == n.to_string()),
            "order"
        );
        next = seen.len() as u64;
    }
}

#[test]
fn a_full_disk_is_an_outage_that_loses_nothing() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("journal.db");
    open(&path);
    // A limit on the size of files, which the child's writes run into as into a full disk.
    let mut command = Command::new("bash");
    command
        .args(["-c", "trap '' XFSZ; ulimit -S -f 64; exec \"$@\"", "bash"])
        .arg(std::env::current_exe().unwrap())
        .args(CHILD_ARGS);
    let mut child = child_command(&mut command, &path, 0);
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut lines = lines.map_while(Result::ok);
    let mut acknowledged = 0;
    let failed = lines.find(|line| {
        acknowledged += usize::from(pushed(line).is_some());
        line.starts_with("failed: ")
    });
    let failed = failed.unwrap();
    assert!(failed.contains("Unavailable"), "{failed}");
    assert!(acknowledged > 0);
    // Somebody makes room, and it goes on by itself.
    let mut more = Command::new("prlimit");
    more.args(["--fsize=unlimited", "--pid", &child.id().to_string()]);
    assert!(more.status().unwrap().success());
    let enough = acknowledged + 100;
    assert!(lines.any(|line| {
        acknowledged += usize::from(pushed(&line).is_some());
        acknowledged >= enough
    }));
    child.kill().unwrap();
    child.wait().unwrap();
    let seen = texts(&open(&path)).len();
    assert!(seen >= acknowledged, "{seen} of {acknowledged}");
}

/// A journal with ten bytes in it, and no room for more.
fn full(folder: &TempDir, timeout: Duration) -> Journal {
    let journal = Journal::builder(folder.path().join("journal.db"))
        .max_bytes(10)
        .full_timeout(timeout)
        .open()
        .unwrap();
    journal.push(&[payload("1234567890")]).unwrap();
    journal
}

#[test]
fn a_full_journal_is_waited_for_once() {
    let folder = TempDir::new().unwrap();
    let timeout = Duration::from_secs(3);
    let journal = full(&folder, timeout);
    let start = Instant::now();
    for _ in 0..20 {
        let refused = journal.push(&[payload("1")]);
        assert!(matches!(refused, Err(QueueError::Full { .. })));
    }
    let took = start.elapsed();
    assert!(took >= timeout && took < 15 * timeout, "{took:?}");
}

/// Somebody makes room while another one waits.
#[test]
fn room_in_a_full_journal_is_noticed() {
    let folder = TempDir::new().unwrap();
    let journal = full(&folder, Duration::from_secs(120));
    thread::scope(|scope| {
        let waiting = scope.spawn(|| journal.push(&[payload("new")]));
        let batch = journal.peek(1).unwrap();
        assert_eq!(journal.ack(&batch).unwrap(), 1);
        waiting.join().unwrap().unwrap();
    });
    assert_eq!(texts(&journal), ["new"]);
}

#[test]
fn processes_share_a_file() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("journal.db");
    let journal = Journal::builder(&path).fsync(Fsync::Always).open().unwrap();
    let mut command = Command::new(std::env::current_exe().unwrap());
    let mut child = child_command(command.args(CHILD_ARGS), &path, 1_000_000);
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let started = |line: String| pushed(&line).is_some();
    assert!(lines.by_ref().map_while(Result::ok).any(started));
    let (mut mine, mut theirs) = (0..100, 1_000_000..);
    for number in mine.clone() {
        journal.push(&[payload(number)]).unwrap();
        let batch = journal.peek(1_000).unwrap();
        assert_eq!(journal.ack(&batch).unwrap(), batch.len());
        for payload in batch.payloads {
            let number: u64 = String::from_utf8(payload.as_bytes().to_vec())
                .unwrap()
                .parse()
                .unwrap();
            let expected = if number < 1_000_000 {
                mine.next()
            } else {
                theirs.next()
            };
            assert_eq!(Some(number), expected);
        }
    }
    child.kill().unwrap();
    child.wait().unwrap();
}
