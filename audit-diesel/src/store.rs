//! Where records end up: `audit_logs`, and `audit_quarantine` for those that it cannot take.

mod entry;
mod json;
mod log;
#[cfg(feature = "postgres")]
pub mod postgres;
#[cfg(feature = "sqlite")]
pub mod sqlite;
mod tables;

pub use log::{AuditLog, QuarantinedRecord};

pub(crate) use entry::{EntryToStore, RecordHead, Refused, is_same_content, quarantine_id};
pub(crate) use json::RawJson;
