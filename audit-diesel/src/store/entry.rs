use audit_core::{ContentDigest, Payload, Record, Unsettled, Whole};
use chrono::{DateTime, Datelike, Utc};
use serde::Deserialize;
use uuid::Uuid;

/// A payload read as the record that it is, ready to be stored.
#[derive(Debug)]
pub(crate) struct EntryToStore {
    pub(crate) payload: Payload,
    pub(crate) record: Record,
    pub(crate) occurred_at: DateTime<Utc>,
    /// By which a redelivery is told from another record that claims the same id.
    pub(crate) digest: ContentDigest,
    /// What the context and the event said beyond their columns, as JSON.
    pub(crate) extra: Option<String>,
}

/// A payload that cannot be stored, and why.
#[derive(Debug)]
pub(crate) struct Refused {
    pub(crate) payload: Payload,
    pub(crate) reason: String,
}

/// Makes a quarantined payload's id: any UUID that is used for nothing else.
const QUARANTINE: Uuid = Uuid::from_u128(0x3f0c_9a52_6f0e_4a8f_9d4b_2d4c_56a1_77e3);

/// A reason is for people to read.
const LONGEST_REASON: usize = 1_000;

impl Refused {
    pub(crate) fn new(payload: &Payload, reason: &str) -> Self {
        // PostgreSQL takes no such character, and the reason may quote the payload.
        let reason = reason.replace('\0', "\\0");
        Self {
            payload: payload.before_put_off(),
            reason: reason.chars().take(LONGEST_REASON).collect(),
        }
    }

    /// The reason up to what it quotes: what a payload holds belongs in no log.
    pub(crate) fn reason_without_values(&self) -> &str {
        let quoted = self.reason.find(['"', '`', '\'']);
        quoted.map_or(&*self.reason, |at| &self.reason[..at])
    }

    /// The same for the same payload, so that a redelivery is not quarantined again.
    pub(crate) fn id(&self) -> Uuid {
        quarantine_id(&self.payload)
    }
}

/// The id that a payload has in quarantine.
pub(crate) fn quarantine_id(payload: &Payload) -> Uuid {
    match payload.whole() {
        // Two of these may begin alike.
        Some(whole) => Uuid::new_v5(&QUARANTINE, whole.digest.as_bytes()),
        None => Uuid::new_v5(&QUARANTINE, payload.before_put_off().as_bytes()),
    }
}

impl EntryToStore {
    /// Reads a payload: what is stored is read from the very bytes that a signature is checked for.
    pub(crate) fn read(payload: &Payload) -> Result<Self, Refused> {
        let payload = payload.before_put_off();
        let refuse = |reason: String| Refused::new(&payload, &reason);
        if let Some(whole) = payload.whole() {
            return Err(refuse(beginning_only(whole)));
        }
        let record = Record::decode(payload.as_bytes()).map_err(|e| refuse(e.to_string()))?;
        let occurred_at = DateTime::from_timestamp_micros(record.occurred_at)
            .filter(|time| (1..=9999).contains(&time.year()))
            .ok_or_else(|| refuse("occurred_at is not between the years 1 and 9999".to_owned()))?;
        let extra = extra(&record).map_err(|e| refuse(e.to_string()))?;
        Ok(Self {
            digest: payload.content_digest(),
            payload,
            record,
            occurred_at,
            extra,
        })
    }

    /// Whether a stored row with this id, and this digest, is this record. A row without a digest
    /// did not come by a queue, and nothing contradicts it.
    pub(crate) fn is_stored_as(&self, digest: Option<&[u8]>) -> bool {
        is_same_content(digest, &self.digest)
    }
}

/// Whether a row with this digest, if it has any, says the same as the record of the other one.
pub(crate) fn is_same_content(stored: Option<&[u8]>, digest: &ContentDigest) -> bool {
    stored.is_none_or(|stored| stored == digest)
}

/// The part of a record that tells which one it is. It can be read where the rest cannot.
#[derive(Debug, Deserialize)]
pub(crate) struct RecordHead {
    pub(crate) id: Uuid,
    #[serde(default)]
    pub(crate) occurred_at: i64,
    #[serde(default)]
    pub(crate) unsettled: Option<Unsettled>,
}

impl RecordHead {
    pub(crate) fn read(payload: &Payload) -> Option<Self> {
        serde_json::from_slice(payload.as_bytes()).ok()
    }
}

fn beginning_only(whole: &Whole) -> String {
    format!(
        "it is {} bytes long, which no record is: this is its beginning, and {} is a digest of all of \
         it",
        whole.bytes, whole.digest
    )
}

fn extra(record: &Record) -> Result<Option<String>, serde_json::Error> {
    let mut extra = record.context.extra().clone();
    for (key, value) in &record.extra {
        extra.insert(key.clone(), value.clone());
    }
    if extra.is_empty() {
        return Ok(None);
    }
    serde_json::to_string(&extra).map(Some)
}
