//! What an audit record is: [`Record`], [`Changes`], [`AuditContext`], [`AuditEvent`] and the
//! [`Queue`] that carries records. This crate knows no database, no Redis and does no I/O.
//!
//! Applications depend on `audit-diesel`, which re-exports everything here.

#![warn(missing_docs)]

mod auditable;
mod changes;
mod content;
mod context;
mod encode;
mod event;
mod payload;
mod queue;
mod record;
mod secret;
mod shrunk;
mod signature;
mod storable;
mod wire;

pub use auditable::{AuditFields, Auditable, IdWriter};
pub use changes::{ChangeKind, Changes, ChangesWriter, Compared, Recorded, base64};
pub use content::ContentDigest;
pub use context::{
    Actor, Attached, AuditContext, CapturedContext, ContextGuard, InvalidIp, ScopeOutput, Source,
    Wrap,
};
pub use encode::{ChangeEncoder, EncodedRow};
pub use event::{AuditEvent, Outcome};
pub use payload::{Payload, Whole};
pub use queue::{
    Backlog, Batch, MemoryQueue, Queue, QueueError, QueueOwner, QueueStatus, Warning, WorkerState,
    WorkerStatus,
};
pub use record::{Record, TransactionRef, Unsettled};
pub use secret::{EXTRA_SECRET_WORDS, SECRET_WORDS, looks_secret, names_one_of, names_secret};
pub use signature::{KeyError, SignatureError, SigningKey};
pub use storable::{recorded_id, recorded_kind};
pub use wire::{DecodeError, WIRE_VERSION};
