//! What the tests of the journal share.

use std::path::Path;

use audit_diesel::{Journal, Payload, Queue};

pub fn open(path: &Path) -> Journal {
    Journal::builder(path).open().unwrap()
}

pub fn payload(text: impl ToString) -> Payload {
    Payload::from(text.to_string().into_bytes())
}

pub fn texts(journal: &Journal) -> Vec<String> {
    let batch = journal.peek(usize::MAX).unwrap();
    let text = |payload: &Payload| String::from_utf8(payload.as_bytes().to_vec()).unwrap();
    batch.payloads.iter().map(text).collect()
}
