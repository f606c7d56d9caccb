//! The records of a statement's rows: each is encoded as its row is read, so that no more than one
//! row is held.

use std::sync::LazyLock;

use audit_core::{ChangeEncoder, ChangeKind, EncodedRow, Payload, TransactionRef};
use diesel::connection::LoadConnection;
use diesel::deserialize::FromSqlRow;
use diesel::query_builder::{Query, QueryFragment, QueryId};
use diesel::result::{Error, QueryResult};
use diesel::row::Row;
use diesel::sql_types::Untyped;
use serde_json::{Map, Value};
use uuid::Uuid;

use super::columns::Columns;
use super::image::{ReturnedRow, RowImage};
use super::row::{Mark, Output};
use super::row_changes::RowChange;
use super::texts::Texts;
use crate::auditor::Auditor;
use crate::connection::RawConnection;
use crate::delivery;
use crate::failpoint::failpoint;
use crate::log::{Seldom, log};
use crate::model::{AuditedModel, AuditedRow, StoredValues};
use crate::recorder::Recorder;
use crate::{AuditError, Delivery};

/// Encodes what a statement changes, and hands it over at its end.
pub(super) struct Recording {
    auditor: Auditor,
    delivery: Delivery,
    resource_type: &'static str,
    encoder: ChangeEncoder,
    /// The place in the transaction of the record that comes next. None until there is one, where
    /// the statement is a transaction of its own.
    place: Option<TransactionRef>,
    xid: Option<i64>,
    payloads: Vec<Payload>,
    /// How many values the types of the model could not read.
    unreadable: usize,
    /// When that was said of the model.
    unreadable_said: fn() -> &'static Seldom,
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
            resource_type: M::resource_type(),
            encoder: auditor.change_encoder(context),
            auditor,
            place,
            xid: None,
            payloads: Vec::new(),
            unreadable: 0,
            unreadable_said: || UNREADABLE_SAID.of::<M>(Seldom::default),
        })
    }

    /// Runs an insert or a delete, takes each of its rows, and passes on what else it returned.
    pub(super) fn load<'query, M, ST, X, Q, C>(
        &mut self,
        kind: ChangeKind,
        statement: Q,
        conn: &mut C,
    ) -> QueryResult<Vec<X>>
    where
        C: RawConnection,
        Q: Query<SqlType = Untyped> + QueryFragment<C::Backend> + QueryId + 'query,
        M: AuditedModel + AuditedRow<C::Backend>,
        X: Output + FromSqlRow<ST, C::Backend>,
    {
        let count = Columns::of::<M, C>().names.len();
        let mut outputs = Vec::new();
        for row in <C as LoadConnection>::load(conn, statement)? {
            let row = &row?;
            let extra: X = extra_of(row, count)?;
            let returned = ReturnedRow { row, first: 0 };
            let change = match kind {
                ChangeKind::Delete => RowChange::Delete(returned),
                _ => RowChange::Insert(returned),
            };
            self.add::<M, C::Backend, _, _, _>(&change, extra.mark());
            outputs.push(extra);
        }
        Ok(outputs)
    }

    /// Takes a row, with what the database said of its change.
    pub(super) fn add<'a, M, DB, R, O, N>(&mut self, change: &RowChange<O, N>, mark: Mark)
    where
        M: AuditedModel + AuditedRow<DB>,
        DB: StoredValues,
        R: Row<'a, DB>,
        O: RowImage<DB, R>,
        N: RowImage<DB, R>,
    {
        self.xid = self.xid.or(mark.xid());
        let row = EncodedRow {
            kind: change.kind(),
            resource_type: self.resource_type,
            micros: mark.micros(),
            extra: matches!(change, RowChange::Unpaired(_)).then(|| &*UNPAIRED),
        };
        let changes = change.of::<DB, R>(&|visit| M::visit::<R>(visit));
        let payload = self.encoder.encode_row(
            &row,
            |out| self.unreadable += changes.write(out),
            || changes.resource_id(),
            || next(&mut self.place),
        );
        self.payloads
            .extend(payload.map(|payload| self.auditor.fitting(payload)));
    }

    /// The statement has succeeded.
    pub(super) fn finish<C: RawConnection>(self, conn: &mut C) -> Result<(), AuditError> {
        failpoint!("statement.done");
        if self.unreadable > 0 && (self.unreadable_said)().is_due() {
            log!(
                error,
                resource = self.resource_type,
                values = self.unreadable,
                "the audited model cannot read values of rows that were changed: they are recorded as \
                 the database shows them, or as unreadable"
            );
        }
        delivery::changes(conn, self.payloads, self.xid, self.delivery)
    }
}

static UNREADABLE_SAID: Texts<Seldom> = Texts::new();

/// Says of a record that the row's old values are not known.
static UNPAIRED: LazyLock<Map<String, Value>> =
    LazyLock::new(|| [("unpaired".to_owned(), true.into())].into_iter().collect());

/// What was returned behind the columns of the model.
pub(super) fn extra_of<'a, DB, R, ST, X>(row: &R, columns: usize) -> QueryResult<X>
where
    DB: StoredValues,
    R: Row<'a, DB>,
    X: FromSqlRow<ST, DB>,
{
    X::build_from_row(&row.partial_row(columns..row.field_count()))
        .map_err(Error::DeserializationError)
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
