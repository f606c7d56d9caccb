//! What the tests of the journal share.

use std::fs;
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

/// Copies a folder with all that is in it.
pub fn copy_files(from: &Path, to: &Path) {
    for file in fs::read_dir(from).unwrap() {
        let file = file.unwrap();
        let target = to.join(file.file_name());
        if file.file_type().unwrap().is_dir() {
            fs::create_dir(&target).unwrap();
            fs::set_permissions(&target, file.metadata().unwrap().permissions()).unwrap();
            copy_files(&file.path(), &target);
        } else {
            fs::copy(file.path(), target).unwrap();
        }
    }
}
