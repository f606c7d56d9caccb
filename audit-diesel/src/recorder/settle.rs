//! What becomes of the records of a transaction that has ended, wholly or back to a savepoint.

use audit_core::{Payload, Unsettled};

use super::Recorder;
use super::relations::End;
use super::transaction::{Ended, Open, Undone};
use crate::failpoint::failpoint;

impl Recorder {
    pub(super) fn settle(&mut self, ended: Option<Ended>) {
        match &ended {
            Some(Ended::Committed(_)) => self.relations.ended(End::Committed),
            Some(Ended::RolledBack(_)) => self.relations.ended(End::RolledBack),
            Some(Ended::InDoubt(_)) => self.relations.ended(End::Unknown),
            Some(Ended::Undone(_)) | None => {}
        }
        match ended {
            Some(Ended::Committed(transaction)) => {
                failpoint!("transaction.committed");
                self.auditor.publish(&transaction.payloads);
                // Where something failed, only the database is believed.
                match transaction.had_failure {
                    true => self.leave_prepared(&transaction),
                    false if !transaction.has_prepared => {}
                    false => self.auditor.release(transaction.id, &transaction.prepared),
                }
            }
            Some(Ended::RolledBack(transaction)) => {
                self.auditor.discarded(transaction.count());
                let certain = transaction.has_prepared && !transaction.had_failure;
                if certain {
                    self.auditor.undo_prepared(transaction.id, 0);
                }
                self.leave_prepared(&transaction);
            }
            Some(Ended::InDoubt(transaction)) => {
                self.publish_unsettled(&transaction.payloads, transaction.xid);
                self.leave_prepared(&transaction);
            }
            Some(Ended::Undone(undone)) => self.undo(&undone),
            None => {}
        }
    }

    fn leave_prepared(&self, transaction: &Open) {
        if transaction.has_prepared {
            self.auditor.leave_prepared(transaction.id);
        }
    }

    fn undo(&mut self, undone: &Undone) {
        self.auditor.discarded(undone.records);
        if let Some(from) = undone.prepared_from {
            let done = self.auditor.undo_prepared(undone.transaction, from);
            self.transaction
                .set_stale_from(Some(from).filter(|_| !done));
        }
    }

    /// The connection was lost during COMMIT: only the database knows. The record travels with
    /// the transaction's id, and whoever stores it asks.
    fn publish_unsettled(&self, payloads: &[Payload], xid: Option<i64>) {
        match xid {
            Some(xid) => {
                self.auditor.doubted(payloads.len());
                let origin = self.server.clone();
                let mark = Unsettled { xid, origin };
                let marked: Vec<_> = payloads.iter().map(|p| p.unsettled(&mark)).collect();
                self.auditor.publish(&marked);
            }
            // Without an id nobody can be asked: keep the record rather than lose it.
            None => self.auditor.publish(payloads),
        }
    }
}
