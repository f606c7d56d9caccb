//! What the database's role has to be allowed to do, and what it is not.

use super::ConsumerError;

/// A right on a table.
#[derive(Debug, Clone, Copy)]
#[cfg_attr(
    not(feature = "postgres"),
    expect(dead_code, reason = "SQLite has no roles")
)]
pub(crate) struct Right {
    pub(crate) privilege: &'static str,
    pub(crate) table: &'static str,
}

const fn right(privilege: &'static str, table: &'static str) -> Right {
    Right { privilege, table }
}

/// What a consumer needs.
pub(super) const TO_STORE: &[Right] = &[
    right("SELECT", "audit_logs"),
    right("INSERT", "audit_logs"),
    right("INSERT", "audit_quarantine"),
];

/// What is needed to see what became of records.
pub(super) const TO_CONFIRM: &[Right] = &[
    right("SELECT", "audit_logs"),
    right("SELECT", "audit_quarantine"),
];

/// What is needed to put records into quarantine whose transaction nobody knows.
pub(super) const TO_RESOLVE: &[Right] = &[right("INSERT", "audit_quarantine")];

/// A right that the role lacks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct MissingRight {
    pub(crate) role: String,
    pub(crate) privilege: String,
    pub(crate) object: String,
}

impl From<MissingRight> for ConsumerError {
    fn from(missing: MissingRight) -> Self {
        Self::MissingRight {
            role: missing.role,
            privilege: missing.privilege,
            object: missing.object,
        }
    }
}

impl std::fmt::Display for MissingRight {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        ConsumerError::from(self.clone()).fmt(f)
    }
}
