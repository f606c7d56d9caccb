//! What a push appends to beside the journal's tables, and how it gets there.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use audit_diesel::{Journal, Payload, Queue, QueueError};
use audit_tests::send_signal;
use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use tempfile::TempDir;

use super::support::*;

/// A journal's folder and file.
struct Place {
    folder: TempDir,
}

impl Place {
    fn new() -> Self {
        let folder = TempDir::new().unwrap();
        Self { folder }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("journal.db")
    }

    fn open(&self) -> Journal {
        Journal::builder(self.path())
            .busy_timeout(Duration::from_millis(300))
            .open()
            .unwrap()
    }

    /// The files in the folder of segments.
    fn segments(&self) -> Vec<PathBuf> {
        let folder = self.folder.path().join("journal.db-segments");
        let files = fs::read_dir(folder).unwrap();
        files.map(|file| file.unwrap().path()).collect()
    }

    /// A connection of somebody who writes to the journal's file and does not finish.
    fn locked(&self) -> SqliteConnection {
        let mut other = SqliteConnection::establish(self.path().to_str().unwrap()).unwrap();
        other.batch_execute("BEGIN IMMEDIATE").unwrap();
        other
    }

    /// The journal of a process that pushed the numbers below `count` and was killed.
    fn left_behind(count: u64) -> Self {
        let place = Self::new();
        let mut child = Pusher::start(&place, 0);
        child.wait_for(count - 1);
        child.kill();
        place
    }

    /// The same files in another folder.
    fn copy(&self) -> Self {
        let copy = Self::new();
        copy_files(self.folder.path(), copy.folder.path());
        copy
    }
}

fn numbers(range: std::ops::Range<u64>) -> Vec<String> {
    range.map(|number| number.to_string()).collect()
}

/// A process that pushes numbers, and says each that was acknowledged.
struct Pusher {
    child: Child,
    lines: Box<dyn Iterator<Item = String>>,
}

impl Pusher {
    fn start(place: &Place, from: u64) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["segments::child", "--exact", "--ignored", "--nocapture"])
            .env("AUDIT_TEST_JOURNAL", place.path())
            .env("AUDIT_TEST_FROM", from.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let lines = Box::new(lines.map_while(Result::ok));
        Self { child, lines }
    }

    /// Lets it push up to this number, and no further.
    fn wait_for(&mut self, number: u64) {
        writeln!(self.child.stdin.as_mut().unwrap(), "{number}").unwrap();
        let line = format!("pushed {number}");
        assert!(self.lines.any(|said| said == line));
    }

    fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Pusher {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Not a test of its own: it pushes numbers up to those that it is told.
#[test]
#[ignore = "a child process of other tests"]
fn child() {
    let Ok(path) = std::env::var("AUDIT_TEST_JOURNAL") else {
        return;
    };
    let mut next: u64 = std::env::var("AUDIT_TEST_FROM").unwrap().parse().unwrap();
    let journal = Journal::builder(path).open().unwrap();
    for line in std::io::stdin().lines() {
        let last: u64 = line.unwrap().parse().unwrap();
        while next <= last {
            journal.push(&[payload(next)]).unwrap();
            next += 1;
        }
        println!("\npushed {last}");
    }
}

#[test]
fn a_push_waits_for_nobody_who_writes_the_file() {
    let place = Place::new();
    let journal = place.open();
    let mut other = place.locked();
    for number in 0..100 {
        journal.push(&[payload(number)]).unwrap();
    }
    other.batch_execute("COMMIT").unwrap();
    assert_eq!(texts(&journal), numbers(0..100));
    assert_eq!(journal.bytes().unwrap(), 190);
}

#[test]
fn what_waits_is_bounded_and_kept() {
    let place = Place::new();
    let journal = Journal::builder(place.path())
        .busy_timeout(Duration::from_millis(300))
        .max_bytes(128 << 20)
        .open()
        .unwrap();
    let mut other = place.locked();
    let mut kept = Vec::new();
    let refused = loop {
        let large = Payload::from(vec![b'0' + (kept.len() % 10) as u8; 50_000]);
        match journal.push(std::slice::from_ref(&large)) {
            Ok(()) => kept.push(large),
            Err(error) => break error,
        }
        assert!(kept.len() < 200, "10 MB wait");
    };
    assert!(
        matches!(refused, QueueError::Unavailable { .. }),
        "{refused:?}"
    );
    assert!(kept.len() > 100, "only {} waited", kept.len());
    other.batch_execute("COMMIT").unwrap();
    journal.push(&[payload("last")]).unwrap();
    kept.push(payload("last"));
    let mut seen = Vec::new();
    while let batch = journal.peek(1_000).unwrap()
        && !batch.is_empty()
    {
        journal.ack(&batch).unwrap();
        seen.extend(batch.payloads);
    }
    assert!(seen == kept, "{} of {}", seen.len(), kept.len());
}

/// The records of a bulk statement: more than one frame, and more than one part to collect.
#[test]
fn a_long_push_waits_as_well() {
    let place = Place::new();
    let journal = place.open();
    let mut other = place.locked();
    let numbers: Vec<_> = (0..20_000).map(|n| format!("{n:0300}")).collect();
    let payloads: Vec<_> = numbers.iter().map(payload).collect();
    journal.push(&payloads).unwrap();
    other.batch_execute("COMMIT").unwrap();
    drop(journal);
    assert_eq!(texts(&place.open()), numbers);
}

#[test]
fn a_killed_processs_segment_is_taken_by_whoever_is_there() {
    let place = Place::new();
    let journal = place.open();
    let mut child = Pusher::start(&place, 0);
    child.wait_for(99);
    child.kill();
    assert_eq!(texts(&journal), numbers(0..100));
    // What is left belongs to this process.
    assert_eq!(place.segments().len(), 1, "{:?}", place.segments());
    drop(journal);
    assert!(place.segments().is_empty());
    assert_eq!(texts(&place.open()), numbers(0..100));
}

#[test]
fn a_suspended_processs_segment_is_taken_and_goes_on() {
    let place = Place::new();
    let journal = place.open();
    let mut child = Pusher::start(&place, 0);
    child.wait_for(99);
    assert!(send_signal("STOP", &[child.child.id()]));
    assert_eq!(texts(&journal), numbers(0..100));
    assert!(send_signal("CONT", &[child.child.id()]));
    child.wait_for(199);
    assert_eq!(texts(&journal), numbers(0..200));
}

#[test]
fn nothing_is_taken_twice_or_left_by_many_who_push_and_collect() {
    const EACH: usize = 1_500;
    let place = Place::new();
    let handles = [place.open(), place.open()];
    thread::scope(|scope| {
        for (handle, journal) in handles.iter().enumerate() {
            for pusher in 0..2 {
                scope.spawn(move || {
                    for number in 0..EACH {
                        // Long enough that segments follow each other.
                        let text = format!("{handle}-{pusher} {number} {}", "x".repeat(700));
                        while journal.push(&[payload(&text)]).is_err() {}
                    }
                });
            }
            scope.spawn(move || while journal.len().unwrap_or(0) < 4 * EACH as u64 {});
        }
    });
    let mut next = BTreeMap::new();
    while let batch = handles[0].peek(10_000).unwrap()
        && !batch.is_empty()
    {
        assert_eq!(handles[0].ack(&batch).unwrap(), batch.len());
        for payload in batch.payloads {
            let text = String::from_utf8(payload.as_bytes().to_vec()).unwrap();
            let mut words = text.split(' ');
            let pusher = words.next().unwrap().to_owned();
            let number: usize = words.next().unwrap().parse().unwrap();
            let expected = next.entry(pusher).or_insert(0);
            assert_eq!(number, *expected, "each pusher's in order, each once");
            *expected += 1;
        }
    }
    assert_eq!(next.into_values().collect::<Vec<_>>(), [EACH; 4]);
    assert!(place.segments().len() <= 4, "{:?}", place.segments());
}

/// Where a process dies in the middle of a push, the file ends anywhere in it.
#[test]
fn a_push_that_was_cut_off_takes_nothing_with_it() {
    let left = Place::left_behind(10);
    let [segment] = &left.segments()[..] else {
        panic!("{:?}", left.segments());
    };
    let name = segment.file_name().unwrap().to_owned();
    let length = fs::metadata(segment).unwrap().len();
    // The last push is 21 bytes long.
    for cut in 1..=21 {
        let copy = left.copy();
        let segment = copy.folder.path().join("journal.db-segments").join(&name);
        let file = fs::OpenOptions::new().write(true).open(segment).unwrap();
        file.set_len(length - cut).unwrap();
        let journal = copy.open();
        assert_eq!(texts(&journal), numbers(0..9), "{cut}");
        assert_eq!(journal.warnings().unwrap(), []);
        journal.push(&[payload(9)]).unwrap();
        assert_eq!(texts(&journal), numbers(0..10));
    }
}

#[test]
fn a_damaged_segment_gives_what_is_whole_and_is_set_aside() {
    let left = Place::left_behind(10);
    let segment = &left.segments()[0];
    let mut bytes = fs::read(segment).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(segment, &bytes).unwrap();
    let journal = left.open();
    let seen = texts(&journal);
    let all = numbers(0..10);
    assert_eq!(seen.len(), 9, "{seen:?}");
    assert!(seen.iter().all(|text| all.contains(text)), "{seen:?}");
    let warnings = journal.warnings().unwrap();
    let [warning] = &warnings[..] else {
        panic!("{warnings:?}");
    };
    assert!(warning.to_string().contains("-segment"), "{warning}");
    let files = fs::read_dir(left.folder.path()).unwrap();
    let mut files = files.map(|file| file.unwrap().path());
    let aside = files.find(|path| path.to_str().unwrap().ends_with("-segment"));
    assert_eq!(fs::read(aside.unwrap()).unwrap(), bytes);
}

#[test]
fn a_segment_of_a_newer_version_is_left_alone() {
    let left = Place::left_behind(1);
    let segment = &left.segments()[0];
    let text = b"audit-journal segment 2\nof another form";
    fs::write(segment, text).unwrap();
    let journal = left.open();
    journal.push(&[payload("a")]).unwrap();
    assert_eq!(texts(&journal), ["a"]);
    let warnings = journal.warnings().unwrap();
    let [warning] = &warnings[..] else {
        panic!("{warnings:?}");
    };
    assert!(warning.to_string().contains("newer version"), "{warning}");
    drop(journal);
    assert_eq!(fs::read(segment).unwrap(), text);
}

/// Somebody else's files in the folder hold nothing up, and are not touched.
#[test]
fn what_is_no_segment_is_left_alone() {
    let place = Place::new();
    let journal = place.open();
    let folder = place.folder.path().join("journal.db-segments");
    let note = folder.join("README");
    fs::write(&note, "what these files are, at some length").unwrap();
    let backup = folder.join("0190163d8694739b8a3bbfe0a1b2c3d4");
    fs::create_dir(&backup).unwrap();
    journal.push(&[payload("a")]).unwrap();
    assert_eq!(texts(&journal), ["a"]);
    assert_eq!(journal.len(), Ok(1));
    assert!(note.exists() && backup.exists());
    assert_eq!(journal.warnings().unwrap(), []);
}

/// As of a process that another user has run.
#[test]
fn a_segment_that_may_not_be_read_holds_nothing_up() {
    let left = Place::left_behind(1);
    let segment = &left.segments()[0];
    fs::set_permissions(segment, fs::Permissions::from_mode(0o000)).unwrap();
    if fs::File::open(segment).is_ok() {
        // Root may read it all the same.
        return;
    }
    let journal = left.open();
    journal.push(&[payload("a")]).unwrap();
    assert_eq!(texts(&journal), ["a"]);
    assert_eq!(journal.len(), Ok(1));
    let warnings = journal.warnings().unwrap();
    assert!(warnings[0].to_string().contains("another user"));
    fs::set_permissions(segment, fs::Permissions::from_mode(0o600)).unwrap();
    assert_eq!(texts(&journal), ["a", "0"]);
    assert_eq!(journal.warnings().unwrap(), []);
}

#[test]
fn each_of_many_damaged_segments_is_set_aside() {
    const MANY: u64 = 30;
    let left = Place::left_behind(10);
    let first = &left.segments()[0];
    let mut bytes = fs::read(first).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    for number in 0..MANY {
        let name = format!("0190163d8694739b8a3bbfe0a1b2c3{number:02x}");
        fs::write(first.with_file_name(name), &bytes).unwrap();
    }
    let journal = left.open();
    assert_eq!(journal.len(), Ok(10 + 9 * MANY));
    assert_eq!(journal.warnings().unwrap().len() as u64, MANY);
}

/// The tables take what a journal that is almost full is given, and a segment does so again later.
#[test]
fn a_journal_that_was_almost_full_is_as_fast_as_before() {
    let place = Place::new();
    let builder = Journal::builder(place.path()).max_bytes(2 << 20);
    let journal = builder.open().unwrap();
    let appended = || {
        let segments = place.segments().into_iter();
        let lengths = segments.map(|segment| fs::metadata(segment).unwrap().len());
        lengths.sum::<u64>()
    };
    let large = payload("x".repeat(50_000));
    let push = || journal.push(std::slice::from_ref(&large)).unwrap();
    while journal.bytes().unwrap() < 1_900_000 {
        push();
    }
    // What is collected is removed with the look after that.
    (0..2).for_each(|_| assert!(journal.len().unwrap() > 30));
    let before = appended();
    push();
    assert_eq!(appended(), before, "it goes to the tables");
    while let batch = journal.peek(100).unwrap()
        && !batch.is_empty()
    {
        journal.ack(&batch).unwrap();
    }
    push();
    let before = appended();
    push();
    assert!(appended() > before);
    assert_eq!(journal.len(), Ok(2));
}

/// A segment that nobody can find any more is not written to.
#[test]
fn a_segment_that_was_removed_loses_no_further_push() {
    let place = Place::new();
    let journal = place.open();
    journal.push(&[payload("a")]).unwrap();
    assert_eq!(texts(&journal), ["a"]);
    for segment in place.segments() {
        fs::remove_file(segment).unwrap();
    }
    journal.push(&[payload("b")]).unwrap();
    assert_eq!(texts(&journal), ["a", "b"]);
    fs::remove_dir_all(place.folder.path().join("journal.db-segments")).unwrap();
    journal.push(&[payload("c")]).unwrap();
    assert_eq!(texts(&journal), ["a", "b", "c"]);
    assert_eq!(place.segments().len(), 1, "it goes on in a new one");
}

/// It must not look empty while somebody else writes the file.
#[test]
fn a_peek_that_cannot_collect_says_so() {
    let place = Place::new();
    let journal = place.open();
    let mut other = place.locked();
    journal.push(&[payload("a")]).unwrap();
    let started = Instant::now();
    let nothing = journal.peek(10).unwrap_err();
    assert!(
        matches!(nothing, QueueError::Unavailable { .. }),
        "{nothing:?}"
    );
    assert!(started.elapsed() < Duration::from_secs(30));
    other.batch_execute("COMMIT").unwrap();
    assert_eq!(texts(&journal), ["a"]);
}
