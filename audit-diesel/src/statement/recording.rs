//! The records of a statement's rows: each is encoded as its row is read, so that no more than one
//! row is held.

use audit_core::{AuditContext, ChangeEncoder, ChangeKind, Payload, Record, TransactionRef};
use uuid::Uuid;

use super::row::{Mark, RowChange};
use crate::auditor::Auditor;
use crate::connection::RawConnection;
use crate::delivery;
use crate::failpoint::failpoint;
use crate::log::log;
use crate::model::AuditedModel;
use crate::recorder::Recorder;
use crate::{AuditError, Delivery};

/// Encodes what a statement changes, and hands it over at its end.
pub(super) struct Recording {
    auditor: Auditor,
    delivery: Delivery,
    context: AuditContext,
    encoder: ChangeEncoder,
    /// The place in the transaction of the record that comes next. None until there is one, where
    /// the statement is a transaction of its own.
    place: Option<TransactionRef>,
    xid: Option<i64>,
    payloads: Vec<Payload>,
}

impl Recording {
    /// Begins when the statement has run, or is about to.
    pub(super) fn begin<M, C>(conn: &mut C) -> Result<Self, AuditError>
    where
        M: AuditedModel,
        C: RawConnection,
    {
        let recorder = Recorder::of(conn).ok_or(AuditError::NoAuditor)?;
        let context = recorder.context()?;
        let auditor = recorder.auditor().clone();
        let place = recorder.upcoming();
        Ok(Self {
            delivery: auditor.delivery(M::DELIVERY)?,
            encoder: auditor.change_encoder(context.clone()),
            auditor,
            context,
            place,
            xid: None,
            payloads: Vec::new(),
        })
    }

    /// Takes a row, with what the database said of its change.
    pub(super) fn add<M: AuditedModel>(&mut self, change: &RowChange<M>, mark: Mark) {
        self.xid = self.xid.or(mark.xid());
        let (old, new) = match change {
            RowChange::Insert(new) => (None, Some(new)),
            RowChange::Update { old, new } => (Some(old), Some(new)),
            RowChange::Delete(old) => (Some(old), None),
            RowChange::Unreadable(kind) => return self.add_unreadable::<M>(*kind, mark),
        };
        let place = || next(&mut self.place);
        let payload = self.encoder.encode(old, new, mark.micros(), place);
        self.payloads
            .extend(payload.map(|payload| self.auditor.fitting(payload)));
    }

    /// That a row changed is recorded even where the model does not fit the table.
    fn add_unreadable<M: AuditedModel>(&mut self, kind: ChangeKind, mark: Mark) {
        log!(
            error,
            resource = M::resource_type(),
            action = kind.as_str(),
            "the audited model does not fit the row that was changed: the change is recorded without values"
        );
        let mut record = Record::new(kind.as_str(), self.context.clone());
        record.resource_type = Some(M::resource_type().to_owned());
        record.extra.insert("unreadable".to_owned(), true.into());
        record.occurred_at = mark.micros().unwrap_or(record.occurred_at);
        record.transaction = Some(next(&mut self.place));
        self.payloads.extend(self.auditor.encode_or_count(record));
    }

    /// The statement has succeeded.
    pub(super) fn finish<C: RawConnection>(self, conn: &mut C) -> Result<(), AuditError> {
        failpoint!("statement.done");
        delivery::changes(conn, self.payloads, self.xid, self.delivery)
    }
}

/// The next place, which it moves on.
fn next(place: &mut Option<TransactionRef>) -> TransactionRef {
    let this = place.unwrap_or_else(|| TransactionRef {
        id: Uuid::now_v7(),
        seq: 0,
    });
    *place = Some(TransactionRef {
        seq: this.seq.saturating_add(1),
        ..this
    });
    this
}
