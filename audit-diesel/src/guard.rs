//! The guard: notices a raw write to an audited table.

mod read;
mod tables;

pub(crate) use read::{RawWrite, raw_writes};
pub(crate) use tables::GuardedTables;

/// What happens when a raw write to an audited table is noticed; see
/// [`AuditorBuilder::guard`](crate::AuditorBuilder::guard).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum GuardMode {
    /// The write panics before it is sent, with the table, the verb and what to write instead. For
    /// tests and development.
    Panic,
    /// The write is done, and leaves a record `unaudited_write` with the table and the verb, never
    /// with SQL or values. For production.
    Record,
    /// Nothing is looked at.
    Off,
}

impl Default for GuardMode {
    /// [`Panic`](Self::Panic) where debug assertions are on, [`Record`](Self::Record) elsewhere.
    fn default() -> Self {
        if cfg!(debug_assertions) {
            Self::Panic
        } else {
            Self::Record
        }
    }
}
