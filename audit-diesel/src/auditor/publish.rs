//! Hands records over whose transaction has ended.

use std::borrow::Cow;

use audit_core::{Payload, QueueError};
use uuid::Uuid;

use super::{Auditor, PreparedFor, PreparedRecords};
use crate::AuditError;
use crate::failpoint::failpoint;
use crate::log::log;

impl Auditor {
    /// Hands records over whose change the database has kept. It must not fail the user's
    /// operation, so a queue that refuses is counted and said aloud.
    pub(crate) fn publish(&self, payloads: &[Payload]) {
        if payloads.is_empty() {
            return;
        }
        match self.shared.queue.push(&self.signed(payloads)) {
            // One that is too large must not take the others along.
            Err(QueueError::TooLarge { .. }) => payloads.iter().for_each(|it| self.publish_one(it)),
            Ok(()) => {
                self.shared.counters.published(payloads.len());
                failpoint!("publish.done");
            }
            Err(error) => self.lost(payloads.len(), &error),
        }
    }

    fn publish_one(&self, payload: &Payload) {
        if let Err(error) = self.push_one(payload) {
            self.lost(1, &error);
        }
    }

    /// Hands over one record, or what is left of it where the queue takes only so many bytes.
    pub(super) fn push_one(&self, payload: &Payload) -> Result<(), QueueError> {
        let queue = &self.shared.queue;
        let pushed = queue.push(&self.signed(std::slice::from_ref(payload)));
        let pushed = match pushed {
            Err(QueueError::TooLarge { max_bytes, .. }) => {
                self.shared.counters.oversized();
                queue.push(&[self.shrunk(payload, max_bytes)])
            }
            pushed => pushed,
        };
        pushed.map(|()| self.shared.counters.published(1))
    }

    fn shrunk(&self, payload: &Payload, max_bytes: usize) -> Payload {
        let shrunk = match &self.shared.settings.signing_key {
            Some(key) => key.sign_shrunk(payload, max_bytes),
            None => payload.shrunk_to(max_bytes),
        };
        // What is no record is refused once more, and counted.
        shrunk.unwrap_or_else(|| payload.clone())
    }

    fn lost(&self, records: usize, error: &QueueError) {
        let lost = self.shared.counters.failed(records);
        // As often as the application commits, otherwise.
        if self.shared.losses_said.is_due() {
            log!(
                error,
                records,
                lost_so_far = lost,
                %error,
                "audit records could not be handed over and are lost"
            );
        }
    }

    /// The payloads as they leave.
    pub(crate) fn signed<'a>(&self, payloads: &'a [Payload]) -> Cow<'a, [Payload]> {
        match &self.shared.settings.signing_key {
            Some(key) => payloads.iter().map(|payload| key.sign(payload)).collect(),
            None => Cow::Borrowed(payloads),
        }
    }

    /// Counts records whose change was rolled back.
    pub(crate) fn discarded(&self, records: usize) {
        self.shared.counters.discarded(records);
    }

    /// Counts records that travel with the question whether their transaction was committed.
    pub(crate) fn doubted(&self, records: usize) {
        self.shared.counters.in_doubt(records);
    }

    /// Says that a connection was closed, or got another instrumentation, inside of a transaction
    /// with so many records.
    pub(crate) fn left_in_transaction(&self, records: usize, can_be_asked: bool) {
        if !can_be_asked {
            self.shared.counters.left(records);
        }
        if !self.shared.left_said.is_due() {
            return;
        }
        let what = match can_be_asked {
            true => "whoever stores them asks the database what became of it",
            false => {
                "they are dropped, as a connection that closes rolls back, and nobody can be asked whether \
                 the transaction was committed"
            }
        };
        log!(
            warn,
            records,
            "a connection was closed inside of a transaction that has audit records, or \
             `set_instrumentation` has taken the auditor from it: {what}"
        );
    }

    /// Hands prepared records on whose transaction is committed. Where that fails, they are found
    /// in the journal later.
    pub(crate) fn release(&self, transaction: Uuid, payloads: &[Payload]) {
        match self.with_prepared(|prepared| prepared.release(transaction, payloads)) {
            Some(Ok(())) => self.shared.counters.published(payloads.len()),
            Some(Err(error)) => left_to_the_reconciler(&error),
            None => {}
        }
    }

    /// Writes records down before COMMIT.
    pub(crate) fn write_down(
        &self,
        owner: &PreparedFor<'_>,
        first: u32,
        undo_from: Option<u32>,
        payloads: &[Payload],
    ) -> Result<(), AuditError> {
        let written =
            self.with_prepared(|prepared| prepared.prepare(owner, first, undo_from, payloads));
        Ok(written.ok_or(AuditError::NoJournal)??)
    }

    /// Leaves it to the database what became of a transaction.
    pub(crate) fn leave_prepared(&self, transaction: Uuid) {
        let left = self.with_prepared(|prepared| {
            prepared.leave(transaction);
            Ok(())
        });
        if let Some(Err(error)) = left {
            left_to_the_reconciler(&error);
        }
    }

    /// Does something with the prepared records, if the auditor has any, inside of the
    /// application's COMMIT: a panic must not get there.
    pub(super) fn with_prepared<T>(
        &self,
        run: impl FnOnce(&dyn PreparedRecords) -> Result<T, QueueError>,
    ) -> Option<Result<T, QueueError>> {
        let prepared = self.shared.prepared.as_deref()?;
        let panics = &self.shared.counters.delivery.panics;
        let name = || "the journal".to_owned();
        Some(panics.contain(name, "prepare", || run(prepared)))
    }

    /// Removes prepared records that were rolled back, and says whether that was done.
    pub(crate) fn undo_prepared(&self, transaction: Uuid, from: u32) -> bool {
        match self.with_prepared(|prepared| prepared.undo(transaction, from)) {
            Some(Err(error)) => {
                left_to_the_reconciler(&error);
                false
            }
            _ => true,
        }
    }
}

fn left_to_the_reconciler(error: &QueueError) {
    log!(warn, %error, "the end of a transaction could not be noted: it is settled later");
}
