//! What is bounded: bytes, and waiting.

use std::thread;
use std::time::{Duration, Instant};

use audit_diesel::{Fsync, Journal, Payload, Queue, QueueError};
use audit_tests::LONG;
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
    let journal = full(&folder, LONG);
    thread::scope(|scope| {
        let waiting = scope.spawn(|| journal.push(&[payload("new")]));
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

#[test]
fn a_time_out_without_end_is_fine() {
    let folder = TempDir::new().unwrap();
    let journal = Journal::builder(folder.path().join("journal.db"))
        .busy_timeout(Duration::MAX)
        .full_timeout(Duration::MAX)
        .open()
        .unwrap();
    journal.push(&[payload("a")]).unwrap();
    assert_eq!(texts(&journal), ["a"]);
}
