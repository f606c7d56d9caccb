//! What is bounded: bytes, and waiting.

use std::thread;
use std::time::{Duration, Instant};

use audit_diesel::{Fsync, Journal, Payload, Queue, QueueError};
use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use tempfile::TempDir;

use super::support::*;

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
fn a_full_journal_is_waited_for_shortly() {
    let folder = TempDir::new().unwrap();
    let journal = Journal::builder(folder.path().join("journal.db"))
        .max_bytes(10)
        .full_timeout(Duration::from_millis(300))
        .open()
        .unwrap();
    let timed = |text: &str| {
        let start = Instant::now();
        let pushed = journal.push(&[payload(text)]);
        (pushed, start.elapsed())
    };
    timed("1234567890").0.unwrap();
    let (refused, waited) = timed("1");
    assert!(matches!(refused, Err(QueueError::Full { .. })));
    assert!(waited >= Duration::from_millis(300) && waited < Duration::from_secs(3));
    // Once is enough.
    let (refused, waited) = timed("1");
    assert!(matches!(refused, Err(QueueError::Full { .. })));
    assert!(waited < Duration::from_millis(200), "{waited:?}");
    // Somebody makes room while others wait.
    let batch = journal.peek(1).unwrap();
    journal.ack(&batch).unwrap();
    timed("1234567890").0.unwrap();
    thread::scope(|scope| {
        let waiting = scope.spawn(|| timed("new").0);
        let batch = journal.peek(1).unwrap();
        assert_eq!(journal.ack(&batch).unwrap(), 1);
        waiting.join().unwrap().unwrap();
    });
    assert_eq!(texts(&journal), ["new"]);
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
fn waiting_for_another_writer_is_bounded() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("journal.db");
    let journal = Journal::builder(&path)
        .fsync(Fsync::Always)
        .busy_timeout(Duration::from_millis(200))
        .open()
        .unwrap();
    let mut other = SqliteConnection::establish(path.to_str().unwrap()).unwrap();
    other.batch_execute("BEGIN IMMEDIATE").unwrap();
    let start = Instant::now();
    thread::scope(|scope| {
        for _ in 0..16 {
            scope.spawn(|| {
                let error = journal.push(&[payload("a")]).unwrap_err();
                assert!(matches!(error, QueueError::Unavailable { .. }), "{error:?}");
            });
        }
    });
    assert!(
        start.elapsed() < Duration::from_secs(2),
        "{:?}",
        start.elapsed()
    );
    assert!(journal.is_empty().unwrap(), "a peek waits for no writer");
    other.batch_execute("COMMIT").unwrap();
    journal.push(&[payload("a")]).unwrap();
    assert_eq!(texts(&journal), ["a"]);
}
