//! Segments that this process cannot collect, and others can.

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use audit_core::Warning;

/// Why a segment is left to others.
#[derive(Debug, Clone, Copy)]
pub(super) enum Why {
    Newer,
    Forbidden,
    Unreadable(io::ErrorKind),
}

impl Why {
    /// Why a segment is that cannot be opened or read.
    pub(super) fn of(error: &io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::PermissionDenied => Self::Forbidden,
            kind => Self::Unreadable(kind),
        }
    }

    pub(super) fn problem(self) -> String {
        match self {
            Self::Newer => "was made by a newer version".to_owned(),
            Self::Forbidden => {
                "belongs to another user, and may not be read by this one".to_owned()
            }
            Self::Unreadable(kind) => format!("cannot be read ({kind})"),
        }
    }

    fn advice(self) -> &'static str {
        match self {
            Self::Newer => "upgrade this process, or start one of the newer version",
            Self::Forbidden => "let one user run all processes that share the journal",
            Self::Unreadable(_) => "look after the disk",
        }
    }
}

/// The segments that were found so, by name.
#[derive(Debug, Default)]
pub(super) struct Left(BTreeMap<String, Why>);

impl Left {
    /// Notes a segment, and says whether that is new: it is found again at each look.
    pub(super) fn note(&mut self, name: &str, why: Why) -> bool {
        self.0.insert(name.to_owned(), why).is_none()
    }

    pub(super) fn forget(&mut self, name: &str) {
        self.0.remove(name);
    }

    /// Forgets those that are gone.
    pub(super) fn retain(&mut self, names: &BTreeSet<String>) {
        self.0.retain(|name, _| names.contains(name));
    }

    pub(super) fn warnings(&self, subject: &str) -> Vec<Warning> {
        let warning = |(name, why): (&String, &Why)| {
            Warning::new(
                subject,
                format!(
                    "has a segment {name} that {}: the records in it wait",
                    why.problem()
                ),
                why.advice(),
            )
        };
        self.0.iter().map(warning).collect()
    }
}
