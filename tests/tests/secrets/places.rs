//! The places that are searched, and how.

use std::fmt::{Debug, Display};
use std::fs;
use std::path::Path;

use crate::vault::{PLAIN, SECRET};

/// What was found where.
#[derive(Default)]
pub struct Places(Vec<(String, Vec<u8>)>);

impl Places {
    pub fn add(&mut self, name: &str, content: impl Into<Vec<u8>>) {
        self.0.push((name.to_owned(), content.into()));
    }

    pub fn add_debug(&mut self, value: &impl Debug) {
        let text = format!("{value:?}\n{value:#?}");
        self.add("Debug output", text);
    }

    pub fn add_error(&mut self, error: &(impl Debug + Display)) {
        self.add("error", format!("{error} {error:?} {error:#?}"));
    }

    /// Every file of a folder and of those in it: databases with their logs, a journal's segments.
    pub fn add_files(&mut self, folder: &Path) {
        for file in fs::read_dir(folder).unwrap() {
            let path = file.unwrap().path();
            if path.is_dir() {
                self.add_files(&path);
                continue;
            }
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            self.add(&name, fs::read(path).unwrap());
        }
    }

    /// Asserts that what is no secret is in one of the places of this name, and so would be found.
    pub fn assert_would_be_found_in(&self, name: &str) {
        let mut places = self.0.iter().filter(|(place, _)| place == name);
        let found = places.any(|(_, content)| holds(content, PLAIN.as_bytes()));
        assert!(found, "nothing at all is found in {name}");
    }

    pub fn assert_no_secret(&self) {
        let forms = forms();
        for (place, content) in &self.0 {
            for (form, text) in &forms {
                let shown = String::from_utf8_lossy(content);
                assert!(
                    !holds(content, text.as_bytes()),
                    "a secret is in {place} as {form}:\n{shown}"
                );
            }
        }
    }
}

/// A secret's beginning as it may be written.
fn forms() -> [(&'static str, String); 4] {
    let bytes = SECRET.as_bytes();
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    let list: Vec<String> = bytes.iter().map(u8::to_string).collect();
    [
        ("text", SECRET.to_owned()),
        ("base64", "bTRya2Vy".to_owned()),
        ("hexadecimal", hex),
        ("a list", list.join(", ")),
    ]
}

fn holds(content: &[u8], text: &[u8]) -> bool {
    content.windows(text.len()).any(|window| window == text)
}
