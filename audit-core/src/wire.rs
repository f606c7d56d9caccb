//! A record on its way: JSON with a version, readable with `redis-cli lrange audit:queue 0 0`.

use serde::Deserialize;
use uuid::Uuid;
use uuid::fmt::Hyphenated;

use crate::content::{PUT_OFF, PUT_OFF_END, after_put_off};
use crate::payload::Payload;
use crate::record::{Record, Unsettled};

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
}

impl Payload {
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

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use crate::context::AuditContext;
    use crate::event::AuditEvent;

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
