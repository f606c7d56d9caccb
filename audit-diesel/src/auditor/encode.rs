//! Writes records as JSON, within the size that one may have.

use audit_core::{AuditContext, ChangeEncoder, Payload, Record};

use super::Auditor;
use crate::AuditError;
use crate::log::log;

impl Auditor {
    /// What encodes the records of a statement, within [`fitting`](Self::fitting).
    pub(crate) fn change_encoder(&self, context: AuditContext) -> ChangeEncoder {
        ChangeEncoder::new(context, &self.shared.settings.secret_words)
    }

    /// Encodes a record.
    pub(crate) fn encode(&self, mut record: Record) -> Result<Payload, AuditError> {
        self.mask_extra(&mut record);
        let payload = record.encode().map_err(AuditError::Unserializable)?;
        Ok(self.fitting(payload))
    }

    /// The change is done, so this finds a way: a record that is too large keeps which fields
    /// changed, with their sizes in place of their values.
    pub(crate) fn fitting(&self, payload: Payload) -> Payload {
        let max_bytes = self.shared.settings.max_record_bytes;
        let bytes = payload.as_bytes().len();
        if bytes <= max_bytes {
            return payload;
        }
        self.shared.counters.oversized();
        // What is not read again here is refused by the queue, which counts it.
        let Ok(record) = Record::decode(payload.as_bytes()) else {
            return payload;
        };
        log!(
            warn,
            record = %record.id,
            resource = record.resource_type.as_deref(),
            bytes,
            max_bytes,
            "a record is too large: its values are replaced by their sizes"
        );
        payload.shrunk_to(max_bytes).unwrap_or(payload)
    }

    /// As [`encode`](Self::encode), where the change may not fail any more.
    pub(crate) fn encode_or_count(&self, record: Record) -> Option<Payload> {
        let (id, what) = (record.id, record.resource_type.clone());
        let payload = self.encode(record).ok();
        if payload.is_none() {
            self.shared.counters.failed(1);
            log!(error, record = %id, resource = what.as_deref(), "a record cannot be written as JSON and is lost");
        }
        payload
    }

    fn mask_extra(&self, record: &mut Record) {
        let words = &self.shared.settings.secret_words;
        if !words.is_empty() {
            record.mask_extra(words);
        }
    }
}
