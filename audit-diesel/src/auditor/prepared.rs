//! Records that are written down before COMMIT, and what is done with them after it.

use std::time::Duration;

use audit_core::{Payload, QueueError, WorkerStatus};
use uuid::Uuid;

/// The transaction that prepared records belong to.
#[derive(Debug)]
#[cfg_attr(
    not(feature = "journal"),
    expect(dead_code, reason = "only a journal takes prepared records")
)]
pub(crate) struct PreparedFor<'a> {
    pub(crate) transaction: Uuid,
    /// PostgreSQL's id of it.
    pub(crate) xid: i64,
    /// PostgreSQL's id of the part of it that the records belong to: a rollback to a savepoint
    /// takes back what was written under some of these.
    pub(crate) writer: i64,
    /// Which server can be asked about it.
    pub(crate) origin: &'a str,
}

/// Where prepared records are. Whatever is neither released nor undone, because the process died
/// or does not know what became of the transaction, is settled by asking the database.
pub(crate) trait PreparedRecords: Send + Sync {
    /// Adds a statement's records, durably, the first at place `first` of the transaction. What a
    /// failed [`undo`](Self::undo) has left is removed with it.
    fn prepare(
        &self,
        owner: &PreparedFor<'_>,
        first: u32,
        undo_from: Option<u32>,
        payloads: &[Payload],
    ) -> Result<(), QueueError>;

    /// Removes what stands at place `from` and after: a rollback.
    fn undo(&self, transaction: Uuid, from: u32) -> Result<(), QueueError>;

    /// Says that this process does not know more of the transaction than the database does.
    fn leave(&self, transaction: Uuid);

    /// Hands the records on: the transaction is committed, and these are its records.
    fn release(&self, transaction: Uuid, payloads: &[Payload]) -> Result<(), QueueError>;

    /// Waits until the database was asked about each transaction whose end nobody has noted.
    fn settle(&self, timeout: Duration) -> Result<(), QueueError>;

    /// How many transactions those are.
    fn unsettled(&self) -> Result<u64, QueueError>;

    /// The thread that settles the others.
    fn worker(&self) -> WorkerStatus;
}
