//! The end of a process: what it has recorded is carried on, or it is said what was left.

use std::fmt;
use std::time::{Duration, Instant};

use super::Auditor;
use crate::log::log;

/// What was left at the end; see [`Auditor::shutdown`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub struct ShutdownError {
    /// What kept the records.
    pub reason: String,
    /// Records in the journal that were not carried on: they are safe, and whoever opens it next does
    /// that.
    pub in_journal: u64,
    /// Why nobody can say how many those are.
    pub journal_unreadable: Option<String>,
    /// Transactions of mode [`Prepared`](crate::Delivery::Prepared) of which it is not known yet whether
    /// they were committed. Their records are in the journal, safe, and whoever opens it next asks.
    pub unsettled: u64,
    /// Records in memory: they are lost when the process ends.
    pub in_memory: u64,
}

impl fmt::Display for ShutdownError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "not all audit records were carried on ({})", self.reason)?;
        if self.in_journal > 0 {
            let records = self.in_journal;
            write!(
                f,
                "; {records} are in the journal, for its next user to carry on"
            )?;
        }
        if let Some(reason) = &self.journal_unreadable {
            write!(f, "; what is in the journal cannot be told now ({reason})")?;
        }
        if self.unsettled > 0 {
            let transactions = self.unsettled;
            write!(
                f,
                "; the journal has records of {transactions} transactions, of which the database is \
                 still to be asked whether they were committed"
            )?;
        }
        if self.in_memory > 0 {
            let records = self.in_memory;
            write!(
                f,
                "; {records} are in memory, and are lost when this process ends"
            )?;
        }
        Ok(())
    }
}

impl Auditor {
    /// Ends a process that lives for a short time, such as a command or a job: waits until what was
    /// recorded before the call is carried on to the queue that the consumer reads, for at most
    /// `timeout`. Call it last, when no statement runs any more; what is recorded later is carried on
    /// as long as the process lives.
    ///
    /// Where the consumer runs in this process too, call [`Consumer::flush`](crate::Consumer::flush)
    /// after it.
    ///
    /// ```
    /// use audit_diesel::{AuditEvent, Auditor, MemoryQueue};
    /// use std::time::{Duration, Instant};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let auditor = Auditor::builder().queue(MemoryQueue::new()).build()?;
    /// auditor.record(AuditEvent::new("import.finished"))?;
    /// auditor.shutdown(Duration::from_secs(5))?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`ShutdownError`] says why not, how many records wait in the journal, where they are safe, and
    /// how many in memory, where they are not.
    pub fn shutdown(&self, timeout: Duration) -> Result<(), ShutdownError> {
        let (queue, started) = (&self.shared.queue, Instant::now());
        // Whose records the database lets go is carried on as well.
        let resolved = self.with_prepared(|prepared| prepared.settle(timeout));
        let carried = queue.settle(timeout.saturating_sub(started.elapsed()));
        let Err(error) = resolved.unwrap_or(Ok(())).and(carried) else {
            return Ok(());
        };
        let unsettled = self.with_prepared(|prepared| prepared.unsettled());
        let status = queue.status();
        let (in_journal, journal_unreadable) = match status.journal.transpose() {
            Ok(backlog) => (backlog.map_or(0, |backlog| backlog.left()), None),
            Err(error) => (0, Some(error.to_string())),
        };
        let left = ShutdownError {
            reason: error.to_string(),
            in_journal,
            journal_unreadable,
            unsettled: unsettled.and_then(Result::ok).unwrap_or_default(),
            in_memory: status.memory.map_or(0, |backlog| backlog.records),
        };
        log!(warn, "{left}");
        Err(left)
    }
}
