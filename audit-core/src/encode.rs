//! Writes records in the form in which they travel.

use std::borrow::Cow;

use serde::Serialize;
use serde_json::{Map, Value};
use uuid::Uuid;
use uuid::fmt::Hyphenated;

use crate::auditable::Auditable;
use crate::changes::{ChangeKind, ChangesWriter};
use crate::context::AuditContext;
use crate::event::Outcome;
use crate::payload::Payload;
use crate::record::micros_now;
use crate::record::{Record, TransactionRef, Unsettled};
use crate::storable::{self, is_ordinary, recorded_id, recorded_kind};
use crate::wire::WIRE_VERSION;

/// Encodes the records of one statement: what they have in common is written once, and each takes
/// no memory but its payload.
#[derive(Debug)]
pub struct ChangeEncoder {
    context: AuditContext,
    /// The context as JSON, once there is a record.
    context_json: Vec<u8>,
    ids: Ids,
    changes: ChangesWriter,
    record: Vec<u8>,
}

impl ChangeEncoder {
    /// An encoder for changes made in this context, in which the values of `extra` are masked whose
    /// keys have one of the `secret_words`.
    pub fn new(mut context: AuditContext, secret_words: &[&str]) -> Self {
        if !secret_words.is_empty() {
            context.mask_extra(secret_words);
        }
        Self {
            context,
            context_json: Vec::new(),
            ids: Ids::default(),
            changes: ChangesWriter::new(ChangeKind::Update),
            record: Vec::new(),
        }
    }

    /// The record of a row that changed from `old` to `new`, as [`Record::encode`] would write it,
    /// or `None` where nothing changed that makes a record. An insert has no `old`, a delete no
    /// `new`. It happened at `micros` since 1970, or now; `place` is asked where there is a record.
    pub fn encode<M: Auditable>(
        &mut self,
        old: Option<&M>,
        new: Option<&M>,
        micros: Option<i64>,
        place: impl FnOnce() -> TransactionRef,
    ) -> Option<Payload> {
        let kind = match (old, new) {
            (None, _) => ChangeKind::Insert,
            (Some(_), Some(_)) => ChangeKind::Update,
            (Some(_), None) => ChangeKind::Delete,
        };
        let row = EncodedRow {
            kind,
            resource_type: M::resource_type(),
            micros,
            extra: None,
        };
        self.encode_row(
            &row,
            |changes| M::write_changes(old, new, changes),
            || old.or(new).map(M::resource_id),
            place,
        )
    }

    /// As [`encode`](Self::encode), for a row that is no value of its model's type: `write` writes
    /// what changed, and `resource_id` names the row where there is a record.
    pub fn encode_row(
        &mut self,
        row: &EncodedRow<'_>,
        write: impl FnOnce(&mut ChangesWriter),
        resource_id: impl FnOnce() -> Option<String>,
        place: impl FnOnce() -> TransactionRef,
    ) -> Option<Payload> {
        self.changes.begin(row.kind);
        write(&mut self.changes);
        let changes = storable_json(self.changes.end()?);
        if self.context_json.is_empty() {
            self.context_json = context_json(&self.context);
        }
        let resource_id = resource_id();
        let parts = Parts {
            id: self.ids.next(),
            occurred_at: row.micros.unwrap_or_else(micros_now),
            action: Cow::Borrowed(row.kind.as_str()),
            resource_type: Some(recorded_kind(row.resource_type)),
            resource_id: resource_id.as_deref().map(recorded_id),
            outcome: Outcome::Success,
            context: &self.context_json,
            transaction: Some(place()),
            changes: Some(&changes),
            extra: row.extra,
            unsettled: None,
        };
        self.record.clear();
        self.record.reserve(USUAL_BYTES);
        parts.write(&mut self.record).ok()?;
        Some(Payload::from(&*self.record))
    }
}

/// The context as it can be stored. Texts and JSON values always serialise.
fn context_json(context: &AuditContext) -> Vec<u8> {
    serde_json::to_vec(&*context.storable()).unwrap_or_else(|_| b"{}".to_vec())
}

/// The changes of a row as they can be stored.
fn storable_json(json: &[u8]) -> Cow<'_, [u8]> {
    match is_ordinary(json) {
        true => Cow::Borrowed(json),
        false => Cow::Owned(storable::mended(json)),
    }
}

/// What is said of a row's change beside its fields.
#[derive(Debug, Clone, Copy)]
pub struct EncodedRow<'a> {
    /// What happened to the row.
    pub kind: ChangeKind,
    /// What kind of thing the row is.
    pub resource_type: &'a str,
    /// When it happened, in microseconds since 1970, where that is not now.
    pub micros: Option<i64>,
    /// Details for the record.
    pub extra: Option<&'a Map<String, Value>>,
}

/// What a record seldom exceeds.
const USUAL_BYTES: usize = 1024;

/// The ids of the records of one statement. The first is random, which asks the operating system;
/// those after it count up from there, which keeps them in order as well.
#[derive(Debug, Default)]
struct Ids {
    next: Option<Uuid>,
}

/// The part of an id below its version and variant.
const COUNTED: u128 = (1 << 62) - 1;

impl Ids {
    fn next(&mut self) -> Uuid {
        let id = self.next.unwrap_or_else(Uuid::now_v7);
        let last_one = id.as_u128() & COUNTED == COUNTED;
        self.next = (!last_one).then(|| Uuid::from_u128(id.as_u128() + 1));
        id
    }
}

impl Record {
    /// The record as it travels, with all that comes from outside in a form that can be stored.
    ///
    /// # Errors
    ///
    /// When a value in `extra` cannot be serialised; changes are serialised already.
    pub fn encode(&self) -> Result<Payload, serde_json::Error> {
        let changes = self.changes.as_ref();
        let changes = changes.map(|it| storable_json(it.as_json().as_bytes()));
        Self::encode_parts(Parts {
            action: recorded_kind(&self.action),
            resource_type: self.resource_type.as_deref().map(recorded_kind),
            resource_id: self.resource_id.as_deref().map(recorded_id),
            context: &context_json(&self.context),
            changes: changes.as_deref(),
            extra: Some(&storable::extra(&self.extra)),
            ..self.parts()
        })
    }

    /// As [`encode`](Self::encode), of a record that was decoded: it has that form already, and what
    /// is written in another form must not be so twice.
    pub(crate) fn encode_as_it_is(&self) -> Result<Payload, serde_json::Error> {
        Self::encode_parts(Parts {
            context: &serde_json::to_vec(&self.context)?,
            ..self.parts()
        })
    }

    /// What the record says, without its context.
    fn parts(&self) -> Parts<'_> {
        Parts {
            id: self.id,
            occurred_at: self.occurred_at,
            action: Cow::Borrowed(&self.action),
            resource_type: self.resource_type.as_deref().map(Cow::Borrowed),
            resource_id: self.resource_id.as_deref().map(Cow::Borrowed),
            outcome: self.outcome,
            context: b"{}",
            transaction: self.transaction,
            changes: self.changes.as_ref().map(|it| it.as_json().as_bytes()),
            extra: Some(&self.extra),
            unsettled: self.unsettled.as_ref(),
        }
    }

    fn encode_parts(mut parts: Parts<'_>) -> Result<Payload, serde_json::Error> {
        parts.extra = parts.extra.filter(|extra| !extra.is_empty());
        let mut record = Vec::with_capacity(USUAL_BYTES);
        parts.write(&mut record)?;
        Ok(Payload::from(&*record))
    }
}

/// What a record says, as [`Record`] has it.
struct Parts<'a> {
    id: Uuid,
    occurred_at: i64,
    action: Cow<'a, str>,
    resource_type: Option<Cow<'a, str>>,
    resource_id: Option<Cow<'a, str>>,
    outcome: Outcome,
    /// JSON.
    context: &'a [u8],
    transaction: Option<TransactionRef>,
    /// JSON.
    changes: Option<&'a [u8]>,
    extra: Option<&'a Map<String, Value>>,
    unsettled: Option<&'a Unsettled>,
}

impl Parts<'_> {
    /// Writes the fields in the order of [`Record`]. To serialise them by serde would look at the
    /// context anew for each record, and at each name for characters to escape.
    fn write(&self, out: &mut Vec<u8>) -> Result<(), serde_json::Error> {
        out.extend_from_slice(b"{\"v\":");
        value(out, &WIRE_VERSION)?;
        out.extend_from_slice(b",\"id\":");
        uuid(out, self.id);
        out.extend_from_slice(b",\"occurred_at\":");
        value(out, &self.occurred_at)?;
        out.extend_from_slice(b",\"action\":");
        value(out, &*self.action)?;
        optional(out, b",\"resource_type\":", self.resource_type.as_deref())?;
        optional(out, b",\"resource_id\":", self.resource_id.as_deref())?;
        out.extend_from_slice(b",\"outcome\":");
        value(out, self.outcome.as_str())?;
        out.extend_from_slice(b",\"context\":");
        out.extend_from_slice(self.context);
        if let Some(transaction) = self.transaction {
            out.extend_from_slice(b",\"transaction\":{\"id\":");
            uuid(out, transaction.id);
            out.extend_from_slice(b",\"seq\":");
            value(out, &transaction.seq)?;
            out.push(b'}');
        }
        if let Some(changes) = self.changes {
            out.extend_from_slice(b",\"changes\":");
            out.extend_from_slice(changes);
        }
        optional(out, b",\"extra\":", self.extra)?;
        optional(out, b",\"unsettled\":", self.unsettled)?;
        out.push(b'}');
        Ok(())
    }
}

fn value<T: Serialize + ?Sized>(out: &mut Vec<u8>, value: &T) -> Result<(), serde_json::Error> {
    serde_json::to_writer(out, value)
}

fn optional<T: Serialize + ?Sized>(
    out: &mut Vec<u8>,
    name: &[u8],
    it: Option<&T>,
) -> Result<(), serde_json::Error> {
    let Some(it) = it else { return Ok(()) };
    out.extend_from_slice(name);
    value(out, it)
}

fn uuid(out: &mut Vec<u8>, uuid: Uuid) {
    let mut text = [0; Hyphenated::LENGTH];
    out.push(b'"');
    out.extend_from_slice(uuid.hyphenated().encode_lower(&mut text).as_bytes());
    out.push(b'"');
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests;
