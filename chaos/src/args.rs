//! The command line: a subcommand, then `--name value` pairs and `--switch`es.

use std::collections::HashMap;
use std::path::PathBuf;
use std::str::FromStr;

/// What was said after the subcommand.
#[derive(Debug, Clone, Default)]
pub struct Args(HashMap<String, String>);

impl Args {
    /// Reads `--name value` pairs; a name without a value is a switch.
    pub fn read(mut words: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut args = HashMap::new();
        let mut name: Option<String> = None;
        loop {
            let word = words.next();
            match (name.take(), word) {
                (None, None) => return Ok(Self(args)),
                (None, Some(word)) => match word.strip_prefix("--") {
                    Some(new) => name = Some(new.to_owned()),
                    None => return Err(format!("`{word}` belongs to no option")),
                },
                (Some(switch), None) => drop(args.insert(switch, String::new())),
                (Some(option), Some(word)) => match word.strip_prefix("--") {
                    Some(new) => {
                        args.insert(option, String::new());
                        name = Some(new.to_owned());
                    }
                    None => drop(args.insert(option, word)),
                },
            }
        }
    }

    /// Whether the option or switch was given.
    pub fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    /// The text of an option.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// The value of an option, or the default.
    ///
    /// # Panics
    ///
    /// When the value cannot be read.
    pub fn or<T: FromStr>(&self, name: &str, default: T) -> T {
        match self.text(name) {
            None | Some("") => default,
            Some(text) => text
                .parse()
                .unwrap_or_else(|_| panic!("--{name} {text}: not understood")),
        }
    }

    /// An option that has to be there.
    ///
    /// # Panics
    ///
    /// When it is not.
    pub fn required(&self, name: &str) -> &str {
        self.text(name)
            .unwrap_or_else(|| panic!("--{name} is missing"))
    }

    /// A path that has to be there.
    pub fn path(&self, name: &str) -> PathBuf {
        PathBuf::from(self.required(name))
    }
}
