//! Hands records over whose transaction has ended.

use std::borrow::Cow;

use audit_core::{Payload, QueueError};
use uuid::Uuid;

use super::Auditor;
use crate::failpoint::failpoint;

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
            Ok(()) => {
                self.shared.counters.published(payloads.len());
                failpoint!("publish.done");
            }
            Err(error) => {
                self.shared.counters.failed(payloads.len());
                tracing::error!(
                    records = payloads.len(),
                    %error,
                    "audit records could not be handed over and are lost"
                );
            }
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

    /// Hands prepared records on whose transaction is committed. Where that fails, they are found
    /// in the journal later.
    pub(crate) fn release(&self, transaction: Uuid, payloads: &[Payload]) {
        let released = self.shared.prepared.as_ref();
        match released.map(|prepared| prepared.release(transaction, payloads)) {
            Some(Ok(())) => self.shared.counters.published(payloads.len()),
            Some(Err(error)) => left_to_the_reconciler(&error),
            None => {}
        }
    }

    /// Leaves it to the database what became of a transaction.
    pub(crate) fn leave_prepared(&self, transaction: Uuid) {
        if let Some(prepared) = &self.shared.prepared {
            prepared.leave(transaction);
        }
    }

    /// Removes prepared records that were rolled back, and says whether that was done.
    pub(crate) fn undo_prepared(&self, transaction: Uuid, from: u32) -> bool {
        let undone = self.shared.prepared.as_ref();
        match undone.map(|prepared| prepared.undo(transaction, from)) {
            Some(Err(error)) => {
                left_to_the_reconciler(&error);
                false
            }
            _ => true,
        }
    }
}

fn left_to_the_reconciler(error: &QueueError) {
    tracing::warn!(%error, "the end of a transaction could not be noted: it is settled later");
}
