//! A row that a statement returned: the model's part and the caller's part, each of which may fail
//! to load without hiding the other. The database has made the change by then.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::thread;

use audit_core::{AuditContext, ChangeKind, Record};
use diesel::deserialize::{FromSqlRow, FromStaticSqlRow, Result, StaticallySizedRow};
use diesel::result::{Error, QueryResult};
use diesel::row::Row;
use diesel::sql_types::BigInt;

use crate::model::AuditedModel;

/// The model's part `C` and what was returned beside it.
#[derive(Debug)]
pub struct Loaded<C, X> {
    pub(super) change: Result<C>,
    pub(super) extra: X,
}

/// The transaction's id and what the caller asked for.
#[derive(Debug)]
pub struct Extra<U> {
    xid: i64,
    output: thread::Result<Result<U>>,
}

/// Loading runs the user's code. Should it panic, the change is recorded first.
fn caught<T>(load: impl FnOnce() -> T) -> thread::Result<T> {
    catch_unwind(AssertUnwindSafe(load))
}

impl<U> Extra<U> {
    pub(super) fn into_output(self) -> QueryResult<U> {
        self.output
            .unwrap_or_else(|panic| resume_unwind(panic))
            .map_err(Error::DeserializationError)
    }
}

/// Written out for each backend: generic over it, the two would overlap with what a third crate
/// could implement for a backend of its own.
macro_rules! load_from {
    ($backend:ty) => {
        impl<C, X, ChangeSt, ExtraSt> FromSqlRow<(ChangeSt, ExtraSt), $backend> for Loaded<C, X>
        where
            C: StaticallySizedRow<ChangeSt, $backend>,
            (X,): FromStaticSqlRow<(ExtraSt,), $backend>,
        {
            fn build_from_row<'a>(row: &impl Row<'a, $backend>) -> Result<Self> {
                let of_model = row.partial_row(0..C::FIELD_COUNT);
                let change = caught(|| C::build_from_row(&of_model))
                    .unwrap_or_else(|_| Err("loading the model panicked".into()));
                let rest = row.partial_row(C::FIELD_COUNT..row.field_count());
                let (extra,) = <(X,)>::build_from_row(&rest)?;
                Ok(Self { change, extra })
            }
        }

        impl<U, OutputSt> FromSqlRow<(BigInt, OutputSt), $backend> for Extra<U>
        where
            (U,): FromStaticSqlRow<(OutputSt,), $backend>,
        {
            fn build_from_row<'a>(row: &impl Row<'a, $backend>) -> Result<Self> {
                let xid =
                    <i64 as FromSqlRow<BigInt, $backend>>::build_from_row(&row.partial_row(0..1))?;
                let rest = row.partial_row(1..row.field_count());
                let output = caught(|| <(U,)>::build_from_row(&rest).map(|(output,)| output));
                Ok(Self { xid, output })
            }
        }
    };
}

#[cfg(feature = "postgres")]
load_from!(diesel::pg::Pg);
#[cfg(feature = "sqlite")]
load_from!(diesel::sqlite::Sqlite);

/// What a statement returned beside the rows of the model.
pub trait Output {
    /// The database's id of the transaction, where it has one.
    fn xid(&self) -> Option<i64>;
}

impl Output for i64 {
    fn xid(&self) -> Option<i64> {
        Some(*self).filter(|xid| *xid != 0)
    }
}

impl<U> Output for Extra<U> {
    fn xid(&self) -> Option<i64> {
        self.xid.xid()
    }
}

/// What happened to one row.
#[derive(Debug)]
pub(super) enum RowChange<M> {
    Insert(M),
    Update {
        old: M,
        new: M,
    },
    Delete(M),
    /// The row changed, and the model could not be loaded from it.
    Unreadable(ChangeKind),
}

impl<M: AuditedModel> RowChange<M> {
    pub(super) fn into_record(self, context: &AuditContext) -> Option<Record> {
        let context = context.clone();
        match self {
            Self::Insert(new) => Record::insert(&new, context),
            Self::Update { old, new } => Record::update(&old, &new, context),
            Self::Delete(old) => Record::delete(&old, context),
            Self::Unreadable(kind) => Some(unreadable::<M>(kind, context)),
        }
    }
}

impl<M> RowChange<M> {
    /// The change of an insert or a delete.
    pub(super) fn of_one(kind: ChangeKind, row: Result<M>) -> Self {
        match (kind, row) {
            (ChangeKind::Delete, Ok(old)) => Self::Delete(old),
            (_, Ok(new)) => Self::Insert(new),
            (kind, Err(_)) => Self::Unreadable(kind),
        }
    }
}

/// That a row changed is recorded even where the model does not fit the table.
fn unreadable<M: AuditedModel>(kind: ChangeKind, context: AuditContext) -> Record {
    tracing::error!(
        resource = M::resource_type(),
        action = kind.as_str(),
        "the audited model does not fit the row that was changed: the change is recorded without values"
    );
    let mut record = Record::new(kind.as_str(), context);
    record.resource_type = Some(M::resource_type().to_owned());
    record.extra.insert("unreadable".to_owned(), true.into());
    record
}
