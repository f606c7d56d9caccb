//! What a writer was told of each operation, in files that outlive it.

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::Path;

/// How a call ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It returned, and the library promises to deliver.
    Returned,
    /// A transaction returned an error.
    Failed,
    /// A statement outside of a transaction returned an error.
    AutocommitFailed,
}

impl Outcome {
    fn letter(self) -> char {
        match self {
            Self::Returned => 'r',
            Self::Failed => 'f',
            Self::AutocommitFailed => 'a',
        }
    }

    fn of(letter: &str) -> Option<Self> {
        [Self::Returned, Self::Failed, Self::AutocommitFailed]
            .into_iter()
            .find(|outcome| letter.starts_with(outcome.letter()))
    }
}

/// One thread's file. Each line is a single write, so that a kill leaves whole lines.
pub struct Outcomes(File);

impl Outcomes {
    /// A file for the thread that calls its operations `{name}.{n}`.
    pub fn create(folder: &Path, name: &str) -> Self {
        let path = folder.join(format!("{name}.outcomes"));
        let file = OpenOptions::new().append(true).create(true).open(path);
        Self(file.expect("a file for outcomes"))
    }

    pub fn write(&mut self, op: &str, outcome: Outcome) {
        let line = format!("{op} {}\n", outcome.letter());
        self.0.write_all(line.as_bytes()).expect("an outcome");
    }
}

/// Every outcome that was written in the folder, by operation.
pub fn read(folder: &Path) -> HashMap<String, Outcome> {
    let mut outcomes = HashMap::new();
    for entry in std::fs::read_dir(folder).expect("the folder").flatten() {
        if entry.path().extension().is_some_and(|e| e == "outcomes") {
            let text = std::fs::read_to_string(entry.path()).expect("outcomes");
            for line in text.lines() {
                if let Some((op, letter)) = line.split_once(' ')
                    && let Some(outcome) = Outcome::of(letter)
                {
                    outcomes.insert(op.to_owned(), outcome);
                }
            }
        }
    }
    outcomes
}
