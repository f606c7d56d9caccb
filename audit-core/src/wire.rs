//! A record on its way: JSON with a version, readable with `redis-cli lrange audit:queue 0 0`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use uuid::Uuid;
use uuid::fmt::Hyphenated;

use serde_json::Map;

use crate::content::{PUT_OFF, PUT_OFF_END, after_put_off};
use crate::storable::{fit, short};
use crate::{Changes, Payload, Record, Unsettled};

/// The version of the format that this crate writes, and the newest that it reads.
pub const WIRE_VERSION: u32 = 1;

/// Why a payload is no record that this version can store.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// Not JSON, or not of the record's form.
    #[error("not an audit record: {0}")]
    Malformed(#[source] serde_json::Error),
    /// Written by a newer version of this crate.
    #[error(
        "the record has format version {found} and this consumer reads up to {WIRE_VERSION}: \
         upgrade the consumer, then put the quarantined payload back into the queue"
    )]
    Newer {
        /// The version that the payload names.
        found: u32,
    },
}

/// How a record of this version begins: to look for the version would read all of it once more.
const OWN_VERSION: &[u8] = br#"{"v":1,"#;

#[derive(Deserialize)]
struct Version {
    v: u32,
}

impl Record {
    /// Reads a payload.
    ///
    /// # Errors
    ///
    /// [`DecodeError`] says whether it is broken or from a newer version.
    pub fn decode(payload: &[u8]) -> Result<Self, DecodeError> {
        if !payload.starts_with(OWN_VERSION) {
            let version: Version =
                serde_json::from_slice(payload).map_err(DecodeError::Malformed)?;
            if version.v > WIRE_VERSION {
                return Err(DecodeError::Newer { found: version.v });
            }
        }
        serde_json::from_slice(payload).map_err(DecodeError::Malformed)
    }

    /// Replaces values so that the record fits `max_bytes`, leaving `{"omitted_bytes":n}` where a
    /// value stood. Which fields changed stays readable; nothing is cut without saying so.
    ///
    /// Where that does not do, because there are very many fields or the bound is very small, all
    /// changes and details go, and then texts are cut. A record of about 1,000 bytes is left of any.
    #[must_use]
    pub fn shrunk_to(mut self, max_bytes: usize) -> Self {
        self = self.with_small_values(max_bytes);
        if self.encoded_bytes() <= max_bytes {
            return self;
        }
        let changes = self.changes.as_ref().map_or(0, |it| it.as_json().len());
        self.changes = self.changes.map(|_| Changes::none());
        self.extra = match changes {
            0 => Map::new(),
            bytes => omitted(bytes),
        };
        self.context = self.context.with_extra_within(0);
        if self.encoded_bytes() <= max_bytes {
            return self;
        }
        self.action = short(&self.action);
        self.resource_type = self.resource_type.as_deref().map(short);
        self.resource_id = self.resource_id.as_deref().map(short);
        self.context = self.context.shortest();
        self
    }

    fn encoded_bytes(&self) -> usize {
        self.encode_as_it_is()
            .map_or(0, |payload| payload.as_bytes().len())
    }

    fn with_small_values(mut self, max_bytes: usize) -> Self {
        // Half is left to everything that is no value.
        let budget = max_bytes / 2;
        if let Some(changes) = self.changes.take() {
            self.changes = Some(shrink_changes(changes, budget));
        }
        fit(&mut self.extra, budget / 2);
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

    /// Marks the payload's record as [`Unsettled`], without decoding it.
    #[must_use]
    pub fn unsettled(&self, unsettled: &Unsettled) -> Self {
        match (self.as_bytes(), serde_json::to_vec(unsettled)) {
            ([b'{', rest @ ..], Ok(mark)) => {
                let mut marked = br#"{"unsettled":"#.to_vec();
                marked.extend_from_slice(&mark);
                marked.push(b',');
                marked.extend_from_slice(rest);
                Self::from(marked)
            }
            _ => self.clone(),
        }
    }

    /// Marks the payload as one that goes to the end of its queue because its record has to wait.
    /// Each mark is another one: who has seen the payload at its old place, and acknowledges it there
    /// once more or too late, must not take this one away.
    #[must_use]
    pub fn put_off(&self) -> Self {
        let payload = self.before_put_off();
        let [b'{', rest @ ..] = payload.as_bytes() else {
            return payload;
        };
        let mut marked = PUT_OFF.to_vec();
        let mut occasion = [0; Hyphenated::LENGTH];
        marked.extend_from_slice(
            Uuid::now_v7()
                .hyphenated()
                .encode_lower(&mut occasion)
                .as_bytes(),
        );
        marked.extend_from_slice(PUT_OFF_END);
        marked.extend_from_slice(rest);
        Self::from(marked)
    }

    /// The payload without the mark of [`put_off`](Self::put_off).
    #[must_use]
    pub fn before_put_off(&self) -> Self {
        if self.whole().is_some() {
            return self.clone();
        }
        match after_put_off(self.as_bytes()) {
            Some(rest) => Self::from([b"{", rest].concat()),
            None => self.clone(),
        }
    }
}

pub(crate) fn omitted(bytes: usize) -> serde_json::Map<String, serde_json::Value> {
    [("omitted_bytes".to_owned(), bytes.into())]
        .into_iter()
        .collect()
}

/// A field of a record that was too large. What is kept is not read: not every number in it has a
/// form that could be written again as it was.
#[derive(Serialize)]
#[serde(untagged)]
enum Shrunk<'a> {
    Kept(&'a RawValue),
    Omitted(serde_json::Map<String, serde_json::Value>),
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
    use crate::{AuditContext, AuditEvent, ChangeKind, ChangesWriter};

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

    #[test]
    fn numbers_of_details_come_back_as_they_were() {
        let mut bits: u64 = 1;
        for _ in 0..20_000 {
            bits = bits.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let number = f64::from_bits(bits);
            if !number.is_finite() {
                continue;
            }
            let event = AuditEvent::new("measured").with("number", number);
            let record = Record::from_event(event, AuditContext::default());
            let back = Record::decode(record.encode().unwrap().as_bytes()).unwrap();
            assert_eq!(back.extra, record.extra);
        }
    }

    #[test]
    fn each_time_that_a_record_is_put_off_is_another_one() {
        let record = Record::new("insert", AuditContext::default());
        let payload = record.encode().unwrap().unsettled(&Unsettled {
            xid: 7,
            origin: None,
        });
        let once = payload.put_off();
        assert_ne!(once, payload);
        assert_ne!(once, payload.put_off());
        assert_eq!(once.before_put_off(), payload);
        assert_eq!(once.put_off().before_put_off(), payload);
        assert_eq!(payload.before_put_off(), payload);
        let read = Record::decode(once.as_bytes()).unwrap();
        assert_eq!(read, Record::decode(payload.as_bytes()).unwrap());
        let other = Payload::from(b"no record".to_vec());
        assert_eq!(other.put_off(), other);
    }
}
