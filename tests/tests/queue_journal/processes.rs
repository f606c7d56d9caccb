//! Processes that push, die, and run out of disk.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use audit_diesel::{Fsync, Journal, Queue};
use audit_tests::SmallDisk;
use tempfile::TempDir;

use super::support::*;

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

const CHILD_ARGS: [&str; 4] = ["processes::child", "--exact", "--ignored", "--nocapture"];

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
    let Some(disk) = SmallDisk::mount(folder.path(), 24 << 20) else {
        return a_limit_is_an_outage_that_loses_nothing(&path);
    };
    disk.take(20 << 20);
    let mut command = disk.run(&std::env::current_exe().unwrap());
    let mut child = child_command(command.args(CHILD_ARGS), &path, 0);
    let acknowledged = goes_on(&mut child, "the disk is full", |_| disk.make_room());
    // Out of the disk that only the child sees.
    let copy = TempDir::new().unwrap();
    copy_files(&disk.reach(folder.path()), copy.path());
    let seen = texts(&open(&copy.path().join("journal.db"))).len();
    assert!(seen >= acknowledged, "{seen} of {acknowledged}");
}

/// Where no disk can be filled: a limit on the size of files, which the child's writes run into.
fn a_limit_is_an_outage_that_loses_nothing(path: &Path) {
    open(path);
    let mut command = Command::new("bash");
    command
        .args(["-c", "trap '' XFSZ; ulimit -S -f 64; exec \"$@\"", "bash"])
        .arg(std::env::current_exe().unwrap())
        .args(CHILD_ARGS);
    let mut child = child_command(&mut command, path, 0);
    let acknowledged = goes_on(&mut child, "Unavailable", |child| {
        let mut more = Command::new("prlimit");
        more.args(["--fsize=unlimited", "--pid", &child.id().to_string()]);
        assert!(more.status().unwrap().success());
    });
    let seen = texts(&open(path)).len();
    assert!(seen >= acknowledged, "{seen} of {acknowledged}");
}

/// Waits until the child's pushes fail with these words, makes room, and waits until they succeed
/// again by themselves. Says how many succeeded in all.
fn goes_on(child: &mut Child, words: &str, make_room: impl FnOnce(&Child)) -> usize {
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut lines = lines.map_while(Result::ok);
    let mut acknowledged = 0;
    let failed = lines.find(|line| {
        acknowledged += usize::from(pushed(line).is_some());
        line.starts_with("failed: ")
    });
    let failed = failed.unwrap();
    assert!(
        failed.contains("Unavailable") && failed.contains(words),
        "{failed}"
    );
    assert!(acknowledged > 0);
    make_room(child);
    let enough = acknowledged + 100;
    assert!(lines.any(|line| {
        acknowledged += usize::from(pushed(&line).is_some());
        acknowledged >= enough
    }));
    child.kill().unwrap();
    child.wait().unwrap();
    acknowledged
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
