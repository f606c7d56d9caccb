//! Who else uses the file, or looks on.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use audit_diesel::Queue;
use diesel::connection::{InstrumentationEvent, SimpleConnection};
use diesel::prelude::*;
use tempfile::TempDir;

use super::support::*;

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
fn rows_removed_by_hand_end_a_batch() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("journal.db");
    let journal = open(&path);
    journal
        .push(&["1", "2", "3", "4", "5"].map(payload))
        .unwrap();
    assert_eq!(journal.len().unwrap(), 5);
    let mut raw = SqliteConnection::establish(path.to_str().unwrap()).unwrap();
    raw.batch_execute("DELETE FROM audit_journal WHERE seq = 3")
        .unwrap();
    let batch = journal.peek(10).unwrap();
    assert_eq!(batch.len(), 2);
    assert_eq!(journal.ack(&batch).unwrap(), 2);
    assert_eq!(texts(&journal), ["4", "5"]);
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
    assert_eq!(texts(&journal), ["a"]);
    assert_eq!(SEEN.load(Ordering::SeqCst), 0);
}
