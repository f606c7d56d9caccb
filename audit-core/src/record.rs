//! One entry of the trail.

use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use uuid::Uuid;

use crate::auditable::Auditable;
use crate::changes::{ChangeKind, Changes, ChangesWriter};
use crate::context::AuditContext;
use crate::event::{AuditEvent, Outcome};
use crate::secret::{add_detail, mask};

/// Which transaction a record belongs to, and its place in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct TransactionRef {
    /// The same for all records of the transaction.
    pub id: Uuid,
    /// 0 for the transaction's first record, counting up.
    pub seq: u32,
}

/// A record whose transaction may or may not have been committed: nobody saw its end, as where the
/// connection is lost during COMMIT. Who stores the record asks the database first.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Unsettled {
    /// PostgreSQL's id of the transaction, as `txid_current()` gave it.
    pub xid: i64,
    /// Which server gave the id, where that is known: to another one it means another transaction.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin: Option<String>,
}

/// One entry of the trail: who did what to which row, when, and what changed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Record {
    /// A UUIDv7: unique, and roughly in order of time.
    pub id: Uuid,
    /// When it happened, in whole microseconds since 1970-01-01 UTC.
    pub occurred_at: i64,
    /// `insert`, `update`, `delete`, or an event's own name.
    pub action: String,
    /// What kind of thing it is about, such as `users`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resource_type: Option<String>,
    /// Which one: the row's primary key as text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resource_id: Option<String>,
    /// How it ended.
    #[serde(default)]
    pub outcome: Outcome,
    /// Who did it, and from where.
    #[serde(default)]
    pub context: AuditContext,
    /// The transaction, if there was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub transaction: Option<TransactionRef>,
    /// What changed; an event has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub changes: Option<Changes>,
    /// An event's details. [`add_detail`](Self::add_detail) masks secrets; what is put in here by hand
    /// is stored in clear text.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub extra: Map<String, Value>,
    /// Set where the database has to be asked whether the transaction was committed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unsettled: Option<Unsettled>,
}

impl Record {
    /// A record of an action in a context, now.
    pub fn new(action: impl Into<String>, context: AuditContext) -> Self {
        Self {
            id: Uuid::now_v7(),
            occurred_at: micros_now(),
            action: action.into(),
            resource_type: None,
            resource_id: None,
            outcome: Outcome::Success,
            context,
            transaction: None,
            changes: None,
            extra: Map::new(),
            unsettled: None,
        }
    }

    /// The record of an event.
    pub fn from_event(event: AuditEvent, context: AuditContext) -> Self {
        let (resource_type, resource_id) = event.resource.unzip();
        Self {
            resource_type,
            resource_id,
            outcome: event.outcome,
            extra: event.extra.0,
            ..Self::new(event.action, context)
        }
    }

    /// Adds a detail to `extra`, with secrets masked as [`AuditContext::with`] does.
    pub fn add_detail(&mut self, key: impl Into<String>, value: impl Into<Value>) {
        add_detail(&mut self.extra, key.into(), value.into());
    }

    /// Masks the values of `extra`, here and in the context, whose keys have one of these words, as
    /// [`names_one_of`](crate::names_one_of) looks for them.
    pub fn mask_extra(&mut self, words: &[&str]) {
        mask(&mut self.extra, words);
        self.context.mask_extra(words);
    }

    /// The record of a new row.
    pub fn insert<M: Auditable>(new: &M, context: AuditContext) -> Option<Self> {
        Self::change(ChangeKind::Insert, None, Some(new), context)
    }

    /// The record of a changed row, or `None` where nothing changed that makes a record. It bears
    /// the row's old key, so that a row's history can be followed through a change of its key.
    pub fn update<M: Auditable>(old: &M, new: &M, context: AuditContext) -> Option<Self> {
        Self::change(ChangeKind::Update, Some(old), Some(new), context)
    }

    /// The record of a row that is gone.
    pub fn delete<M: Auditable>(old: &M, context: AuditContext) -> Option<Self> {
        Self::change(ChangeKind::Delete, Some(old), None, context)
    }

    fn change<M: Auditable>(
        kind: ChangeKind,
        old: Option<&M>,
        new: Option<&M>,
        context: AuditContext,
    ) -> Option<Self> {
        let mut writer = ChangesWriter::new(kind);
        M::write_changes(old, new, &mut writer);
        let changes = writer.finish()?;
        Some(Self {
            resource_type: Some(M::resource_type().to_owned()),
            resource_id: old.or(new).map(M::resource_id),
            changes: Some(changes),
            ..Self::new(kind.as_str(), context)
        })
    }
}

/// The time in whole microseconds since 1970.
pub(crate) fn micros_now() -> i64 {
    let micros = match SystemTime::now().duration_since(UNIX_EPOCH) {
        Ok(since) => i128::try_from(since.as_micros()).unwrap_or(i128::MAX),
        Err(before) => -i128::try_from(before.duration().as_micros()).unwrap_or(i128::MAX),
    };
    i64::try_from(micros).unwrap_or(i64::MAX)
}
