//! Hands records over whose transaction has ended.

use std::borrow::Cow;

use audit_core::{Payload, QueueError};
use uuid::Uuid;

use super::{Auditor, PreparedFor, PreparedRecords};
use crate::AuditError;
use crate::failpoint::failpoint;
use crate::log::log;
use crate::panics;

/// What a signature takes at most.
const SIGNATURE_BYTES: usize = 256;

impl Auditor {
    /// Hands records over whose change the database has kept. It must not fail the user's
    /// operation, so a queue that refuses is counted and said aloud.
    pub(crate) fn publish(&self, payloads: &[Payload]) {
        if payloads.is_empty() {
            return;
        }
        let payloads = &*self.signed(payloads);
        match self.shared.queue.push(payloads) {
            // One that is too large must not take the others along.
            Err(QueueError::TooLarge { .. }) if payloads.len() > 1 => {
                for payload in payloads.chunks(1) {
                    self.publish(payload);
                }
            }
            Err(QueueError::TooLarge { max_bytes, .. }) => self.publish_shrunk(payloads, max_bytes),
            Ok(()) => {
                self.shared.counters.published(payloads.len());
                failpoint!("publish.done");
            }
            Err(error) => self.lost(payloads.len(), &error),
        }
    }

    /// Hands over what is left of one record where the queue takes only so many bytes.
    fn publish_shrunk(&self, payloads: &[Payload], max_bytes: usize) {
        self.shared.counters.oversized();
        let signature = match &self.shared.settings.signing_key {
            Some(_) => SIGNATURE_BYTES,
            None => 0,
        };
        let room = max_bytes.saturating_sub(signature);
        let shrunk: Vec<_> = payloads
            .iter()
            .map(|it| it.shrunk_to(room).unwrap_or_else(|| it.clone()))
            .collect();
        match self.shared.queue.push(&self.signed(&shrunk)) {
            Ok(()) => self.shared.counters.published(shrunk.len()),
            Err(error) => self.lost(shrunk.len(), &error),
        }
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
        if !self.shared.left_said.is_due() {
            return;
        }
        let what = match can_be_asked {
            true => "whoever stores them asks the database what became of it",
            false => "they are dropped, as a connection that closes rolls back",
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
    fn with_prepared(
        &self,
        run: impl FnOnce(&dyn PreparedRecords) -> Result<(), QueueError>,
    ) -> Option<Result<(), QueueError>> {
        let prepared = self.shared.prepared.as_deref()?;
        let done = panics::caught(|| run(prepared));
        Some(done.unwrap_or_else(|problem| {
            self.shared.counters.delivery.panicked();
            Err(QueueError::Unavailable {
                queue: "the journal".to_owned(),
                reason: format!("it panicked: {problem}"),
            })
        }))
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
