//! A record on its way: JSON with a version, readable with `redis-cli lrange audit:queue 0 0`.

use serde::Deserialize;
use serde_json::value::RawValue;

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
    #[must_use]
    pub fn shrunk_to(mut self, max_bytes: usize) -> Self {
        // Half is left to everything that is no value.
        let budget = max_bytes / 2;
        if let Some(changes) = self.changes.take() {
            self.changes = Some(shrink_changes(changes, budget));
        }
        let extra_bytes = serde_json::to_vec(&self.extra).map_or(0, |json| json.len());
        if extra_bytes > budget / 2 {
            self.extra = omitted(extra_bytes);
        }
        self.context = self.context.with_extra_within(budget / 4);
        self
    }
}

impl Payload {
    /// Marks the payload's record as [`Unsettled`], without decoding it.
    #[must_use]
    pub fn unsettled(&self, unsettled: Unsettled) -> Self {
        match (self.as_bytes(), serde_json::to_vec(&unsettled)) {
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
}

pub(crate) fn omitted(bytes: usize) -> serde_json::Map<String, serde_json::Value> {
    [("omitted_bytes".to_owned(), bytes.into())]
        .into_iter()
        .collect()
}

/// Keeps small fields as they are and replaces the largest until the rest fits.
fn shrink_changes(changes: Changes, budget: usize) -> Changes {
    type Fields<'a> = std::collections::BTreeMap<String, &'a RawValue>;
    let Ok(fields) = serde_json::from_str::<Fields<'_>>(changes.as_json()) else {
        return changes;
    };
    let share = budget / (fields.len() + 1);
    let mut json = serde_json::Map::new();
    for (name, value) in fields {
        let length = value.get().len();
        let kept = if length <= share {
            serde_json::from_str(value.get()).ok()
        } else {
            None
        };
        json.insert(name, kept.unwrap_or_else(|| omitted(length).into()));
    }
    match serde_json::value::to_raw_value(&json) {
        Ok(raw) => Changes::from_raw(raw),
        Err(_) => changes,
    }
}
