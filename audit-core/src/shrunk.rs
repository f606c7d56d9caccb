//! Makes a record small that is larger than its queue takes, and says what it leaves out.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value};
use uuid::fmt::Simple;

use crate::changes::Changes;
use crate::payload::Payload;
use crate::record::Record;
use crate::storable::{digest, fit, omitted, short};

impl Record {
    /// Replaces values so that the record fits `max_bytes`, leaving `{"omitted_bytes":n}` where a
    /// value stood. Which fields changed stays readable; nothing is cut without saying so.
    ///
    /// Where that does not do, because there are very many fields or the bound is very small, all
    /// changes and details go, and `extra` says how many bytes they were and what their digest is.
    /// Then texts are cut. A record of about 1,000 bytes is left of any.
    #[must_use]
    pub fn shrunk_to(self, max_bytes: usize) -> Self {
        let left_out = self.what_may_be_left_out();
        let mut small = self.with_small_values(max_bytes);
        if small.encoded_bytes() <= max_bytes {
            return small;
        }
        small.changes = small.changes.map(|_| Changes::none());
        small.extra = left_out;
        small.context = small.context.with_extra_within(0);
        if small.encoded_bytes() <= max_bytes {
            return small;
        }
        small.action = short(&small.action);
        small.resource_type = small.resource_type.as_deref().map(short);
        small.resource_id = small.resource_id.as_deref().map(short);
        small.context = small.context.shortest();
        small
    }

    fn encoded_bytes(&self) -> usize {
        self.encode_as_it_is()
            .map_or(0, |payload| payload.as_bytes().len())
    }

    /// What stands for the changes and the details of the record if all of them go: nothing, where
    /// there is nothing to leave out, and what stands there already, where they have gone before.
    fn what_may_be_left_out(&self) -> Map<String, Value> {
        let changes = self.changes.as_ref().map(Changes::as_json);
        let changes = changes.filter(|json| *json != Changes::none().as_json());
        if changes.is_none() && (self.extra.is_empty() || says_what_went(&self.extra)) {
            return self.extra.clone();
        }
        let mut json = changes.unwrap_or_default().as_bytes().to_vec();
        if !self.extra.is_empty() {
            json.extend(serde_json::to_vec(&self.extra).unwrap_or_default());
        }
        let mut mark = omitted(json.len());
        mark.insert(DIGEST.to_owned(), digest(&json).to_string().into());
        mark
    }

    fn with_small_values(mut self, max_bytes: usize) -> Self {
        // Half is left to everything that is no value.
        let budget = max_bytes / 2;
        if let Some(changes) = self.changes.take() {
            self.changes = Some(shrink_changes(changes, budget));
        }
        if !says_what_went(&self.extra) {
            fit(&mut self.extra, budget / 2);
        }
        self.context = self.context.with_extra_within(budget / 4);
        self
    }
}

impl Payload {
    /// The payload's record [with fewer values](Record::shrunk_to), or none where it is no record.
    #[must_use]
    pub fn shrunk_to(&self, max_bytes: usize) -> Option<Self> {
        let record = Record::decode(self.as_bytes()).ok()?;
        record.shrunk_to(max_bytes).encode_as_it_is().ok()
    }
}

/// Where the digest of what was left out stands.
const DIGEST: &str = "omitted_digest";

/// Whether these details only say that there were others.
fn says_what_went(extra: &Map<String, Value>) -> bool {
    let is_digest = |value: &Value| value.as_str().is_some_and(|it| it.len() == Simple::LENGTH);
    extra.len() == 2
        && extra.get("omitted_bytes").is_some_and(Value::is_u64)
        && extra.get(DIGEST).is_some_and(is_digest)
}

/// A field of a record that was too large. What is kept is not read: not every number in it has a
/// form that could be written again as it was.
#[derive(Serialize)]
#[serde(untagged)]
enum Shrunk<'a> {
    Kept(&'a RawValue),
    Omitted(Map<String, Value>),
}

/// Keeps small fields as they are and replaces the largest until the rest fits.
fn shrink_changes(changes: Changes, budget: usize) -> Changes {
    type Fields<'a> = BTreeMap<String, &'a RawValue>;
    let Ok(fields) = serde_json::from_str::<Fields<'_>>(changes.as_json()) else {
        return changes;
    };
    let share = budget / (fields.len() + 1);
    let fields = fields.into_iter().map(|(name, value)| {
        let value = match value.get().len() {
            bytes if bytes > share => Shrunk::Omitted(omitted(bytes)),
            _ => Shrunk::Kept(value),
        };
        (name, value)
    });
    match serde_json::value::to_raw_value(&fields.collect::<BTreeMap<_, _>>()) {
        Ok(raw) => Changes::from_raw(raw),
        Err(_) => changes,
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use crate::changes::{ChangeKind, ChangesWriter};
    use crate::context::AuditContext;
    use crate::event::AuditEvent;

    #[test]
    fn what_is_kept_of_a_large_record_is_as_it_was() {
        let mut writer = ChangesWriter::new(ChangeKind::Update);
        writer.field("count", Some(&u128::MAX), Some(&(u128::MAX - 1)));
        writer.field("rate", Some(&0.1), Some(&-0.0));
        let small = writer.finish().unwrap().fields();
        let mut writer = ChangesWriter::new(ChangeKind::Update);
        writer.field("count", Some(&u128::MAX), Some(&(u128::MAX - 1)));
        writer.field("rate", Some(&0.1), Some(&-0.0));
        writer.field("text", Some(""), Some(&*"x".repeat(5_000)));
        let mut record = Record::new("update", AuditContext::default());
        record.changes = writer.finish();
        let fields = record.shrunk_to(2_000).changes.unwrap().fields();
        assert_eq!(fields[..2], small);
        assert!(fields[2].1.contains_key("omitted_bytes"), "{fields:?}");
    }

    /// A record with very many fields, details, or both: no value alone is large.
    fn large(changes: bool, details: bool) -> Record {
        let mut record = Record::new("large", AuditContext::default());
        let mut writer = ChangesWriter::new(ChangeKind::Insert);
        let mut event = AuditEvent::new("large");
        for key in 0..500 {
            writer.field(&format!("field {key}"), None, Some("value"));
            event = event.with(format!("key {key}"), key);
        }
        if details {
            record = Record::from_event(event, AuditContext::default());
        }
        record.changes = writer.finish().filter(|_| changes);
        record
    }

    #[test]
    fn what_goes_whole_leaves_its_size_and_a_digest() {
        let digest_of = |record: Record| record.shrunk_to(10).extra[DIGEST].clone();
        for (changes, details, bound) in
            [(true, false, 1_000), (false, true, 10), (true, true, 1_000)]
        {
            let record = large(changes, details);
            let bytes = record.changes.as_ref().map_or(0, |it| it.as_json().len())
                + usize::from(details) * serde_json::to_vec(&record.extra).unwrap().len();
            let payload = record.encode().unwrap();
            let shrunk = payload.shrunk_to(bound).unwrap();
            assert!(shrunk.as_bytes().len() <= 1_000);
            let found = Record::decode(shrunk.as_bytes()).unwrap();
            assert_eq!(found.extra["omitted_bytes"], bytes);
            assert_eq!(found.extra.len(), 2);
            // It still says that once it has to become smaller.
            let smaller = shrunk.shrunk_to(200).unwrap();
            assert_eq!(
                Record::decode(smaller.as_bytes()).unwrap().extra,
                found.extra
            );
            let mut other = record.clone();
            other.extra.insert("more".to_owned(), 1.into());
            assert_ne!(digest_of(record), digest_of(other));
        }
        let bare = Record::new("bare", AuditContext::default());
        assert!(bare.shrunk_to(10).extra.is_empty());
    }
}
