use audit_core::Queue;
use tempfile::TempDir;

use super::*;
use crate::Journal;

fn open(folder: &TempDir) -> Journal {
    let builder = Journal::builder(folder.path().join("journal.db"));
    builder.open().unwrap()
}

fn push(journal: &Journal, text: &str) {
    journal
        .push(&[Payload::from(text.as_bytes().to_vec())])
        .unwrap();
}

/// Whoever appends may be as fast as whoever collects, and never pause.
#[test]
fn a_look_ends_with_what_was_there_when_it_began() {
    let folder = tempfile::tempdir().unwrap();
    let journal = open(&folder);
    push(&journal, "before");
    let segments = &journal.0.segments;
    let names = segments.waiting().unwrap();
    let mut segment = segments.open(names.into_iter().next().unwrap()).unwrap();
    let Next::Part(part) = segments.next_part(&mut segment) else {
        unreachable!("something waits");
    };
    let store = |connection: &mut _| segments.store(connection, &segment, &part);
    assert!(journal.run(&journal.0.writer, store).unwrap());
    push(&journal, "meanwhile");
    assert!(matches!(segments.next_part(&mut segment), Next::Nothing));
    assert_eq!(journal.len(), Ok(2));
}

/// As where the disk is damaged: a folder can be opened, and not be read.
#[test]
fn a_segment_that_cannot_be_read_holds_up_nothing_and_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let journal = open(&folder);
    push(&journal, "before");
    let segments = &journal.0.segments;
    let unreadable = uuid::Uuid::nil().simple().to_string();
    fs::create_dir(segments.folder.join(&unreadable)).unwrap();
    assert!(segments.open(unreadable.clone()).is_none());
    let warnings = journal.warnings().unwrap();
    assert!(
        warnings
            .iter()
            .any(|it| it.to_string().contains(&unreadable)),
        "{warnings:?}"
    );
    assert_eq!(journal.len(), Ok(1));
}

/// Each process sees the segments of all, and there is no end of them.
#[test]
fn what_others_have_removed_takes_no_memory() {
    let folder = tempfile::tempdir().unwrap();
    let (journal, other) = (open(&folder), open(&folder));
    for _ in 0..3 {
        // As long as makes a new one follow.
        for _ in 0..40 {
            push(&other, &"x".repeat(40_000));
            assert_eq!(journal.len(), other.len());
        }
    }
    assert_eq!(journal.len(), Ok(120));
    let there = fs::read_dir(&journal.0.segments.folder).unwrap().count();
    for handle in [journal, other] {
        handle.len().unwrap();
        let known = handle.0.segments.collected_so_far().len();
        assert!(known <= there, "{known} known of {there}");
    }
}
