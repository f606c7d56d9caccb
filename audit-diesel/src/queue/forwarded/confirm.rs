//! What becomes of the journal's payloads once they are carried on.

use std::sync::Arc;

use audit_core::Payload;

use crate::auditor::DeliveryCounters;
use crate::consumer::{Delivery, Fate, Fates, Sink, Tally, Undelivered};
use crate::log::log;
use crate::queue::forward::Fit;
use crate::queue::journal::Journal;

/// Asks the database what became of payloads that have left the target, and has those carried on
/// again that it lost.
pub(super) struct Confirm {
    pub(super) journal: Journal,
    pub(super) fates: Box<dyn Fates>,
    pub(super) fit: Arc<Fit>,
    pub(super) counters: Arc<DeliveryCounters>,
}

impl Sink for Confirm {
    type Prepared = ();

    fn prepare(_: &[Payload]) {}

    fn deliver(&mut self, payloads: &[Payload], (): ()) -> Result<Delivery, Undelivered> {
        let arrived: Vec<_> = payloads.iter().map(|p| self.fit.fitting(p)).collect();
        let fates = self.fates.of(&arrived)?;
        let mut tally = Tally::default();
        let (mut again, mut lost) = (Vec::new(), 0);
        for (payload, fate) in payloads.iter().zip(fates) {
            match fate {
                Fate::Stored => tally.stored += 1,
                Fate::Quarantined => tally.quarantined += 1,
                Fate::RolledBack => tally.rolled_back += 1,
                Fate::InProgress => again.push(payload.clone()),
                Fate::Missing => {
                    lost += 1;
                    again.push(payload.clone());
                }
            }
        }
        // Before they are given up at their old places: they may be there twice, never not at all.
        if !again.is_empty() {
            let sent = self.journal.send_again(&again);
            sent.map_err(|error| error.to_string())?;
        }
        if lost > 0 {
            self.counters.sent_again(lost);
            log!(
                warn,
                records = lost,
                "audit records have left their queue and are not in the database: the journal \
                 delivers them again"
            );
        }
        Ok(Delivery::Done(tally))
    }
}
