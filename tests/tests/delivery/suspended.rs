//! A process is suspended, as in a debugger, while it writes to the journal: it keeps the file's
//! write lock for as long as it sleeps.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use audit_diesel::{Auditor, Fsync, Journal, Payload, Queue, QueueError};
use audit_tests::{send_signal, wait_until};
use diesel::connection::SimpleConnection;
use diesel::prelude::*;

use super::support::*;

const JOURNAL: &str = "AUDIT_TEST_CHILD_LOCKS";

/// Not a test of its own: it takes the lock, and keeps it until it is killed.
#[test]
#[ignore = "a child process of other tests"]
fn child() {
    let Ok(path) = std::env::var(JOURNAL) else {
        return;
    };
    let mut file = SqliteConnection::establish(&path).unwrap();
    file.batch_execute("PRAGMA busy_timeout = 60000; BEGIN IMMEDIATE")
        .unwrap();
    println!("locked");
    loop {
        std::thread::park();
    }
}

/// A suspended process that holds the lock; killed on drop.
struct Sleeper(Child);

impl Sleeper {
    fn on(journal: &Path) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["suspended::child", "--exact", "--ignored", "--nocapture"])
            .env(JOURNAL, journal)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut lines = lines.map_while(Result::ok);
        assert!(lines.any(|line| line.contains("locked")));
        assert!(send_signal("STOP", &[child.id()]));
        Self(child)
    }
}

impl Drop for Sleeper {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Far longer than a test may take.
const NEVER: Duration = Duration::from_secs(600);

fn payload(text: &str) -> Payload {
    Payload::from(text.as_bytes().to_vec())
}

#[test]
fn a_journal_opens_and_is_read_while_a_suspended_process_writes() {
    let setup = Setup::new(&[]);
    setup.journal().push(&[payload("before")]).unwrap();
    let sleeper = Sleeper::on(&setup.path());
    let builder = Journal::builder(setup.path()).busy_timeout(NEVER);
    let journal = builder.open().unwrap();
    assert_eq!(journal.peek(10).unwrap().payloads, [payload("before")]);
    assert_eq!(journal.len(), Ok(1));
    drop(sleeper);
    journal.push(&[payload("after")]).unwrap();
    assert_eq!(journal.len(), Ok(2));
}

#[test]
fn the_first_callers_wait_for_it_and_the_others_only_for_a_moment() {
    let setup = Setup::new(&[]);
    drop(setup.journal());
    let sleeper = Sleeper::on(&setup.path());
    // Otherwise a push does not need the lock.
    let builder = Journal::builder(setup.path()).fsync(Fsync::Always);
    let journal = builder.busy_timeout(Duration::from_secs(2)).open().unwrap();
    let started = Instant::now();
    for _ in 0..60 {
        let error = journal.push(&[payload("meanwhile")]).unwrap_err();
        assert!(matches!(error, QueueError::Unavailable { .. }), "{error:?}");
        assert!(error.to_string().contains("another process"), "{error}");
    }
    // Each of them for as long as the first would take two minutes.
    assert!(started.elapsed() < Duration::from_secs(60));
    drop(sleeper);
    journal.push(&[payload("after")]).unwrap();
    assert_eq!(journal.peek(10).unwrap().payloads, [payload("after")]);
}

#[test]
fn an_application_starts_without_waiting_for_it() {
    let setup = Setup::new(&[]);
    drop(setup.journal());
    let sleeper = Sleeper::on(&setup.path());
    let journal = Journal::builder(setup.path()).busy_timeout(NEVER);
    let auditor = confirmed(&setup, journal.open().unwrap());
    let _consumer = setup.consumer();
    drop(sleeper);
    record(&auditor, 0..10);
    setup.wait_for(10);
    setup.wait_for_an_empty_journal();
}

/// What the application made meanwhile with this journal, and then all, is delivered.
fn meanwhile_and_before(fsync: Fsync, meanwhile: impl FnOnce(&Setup)) {
    let setup = Setup::new(&[]);
    let auditor = setup.confirmed().build().unwrap();
    record(&auditor, 0..10);
    auditor.queue().settle(LONG).unwrap();
    drop(auditor);
    setup.redis("FLUSHALL");
    let sleeper = Sleeper::on(&setup.path());
    let builder = Journal::builder(setup.path()).fsync(fsync);
    let journal = builder.busy_timeout(Duration::from_millis(500)).open();
    let auditor = confirmed(&setup, journal.unwrap());
    record(&auditor, 10..40);
    let _consumer = setup.consumer();
    meanwhile(&setup);
    drop(sleeper);
    setup.wait_for(40);
    setup.wait_for_an_empty_journal();
    let stats = auditor.stats();
    assert_eq!((stats.published, stats.failed), (30, 0), "{stats:?}");
}

#[test]
fn what_is_made_meanwhile_waits_beside_the_tables() {
    meanwhile_and_before(Fsync::Os, |setup| {
        let waiting = std::fs::read_dir(setup.path().with_extension("db-segments")).unwrap();
        let bytes = waiting.map(|file| file.unwrap().metadata().unwrap().len());
        assert!(bytes.sum::<u64>() > 30 * 100);
    });
}

#[test]
fn what_the_journal_cannot_take_meanwhile_goes_straight_to_redis() {
    meanwhile_and_before(Fsync::Always, |setup| {
        wait_until("what was made meanwhile", LONG, || {
            setup.stored() == names(40)[10..]
        });
    });
}

fn confirmed(setup: &Setup, journal: Journal) -> Auditor {
    let builder = Auditor::builder()
        .redis_queue(setup.list())
        .journal_queue(journal);
    let builder = builder.confirm_in(setup.app.pool.clone());
    builder.confirm_after(GRACE).build().unwrap()
}
