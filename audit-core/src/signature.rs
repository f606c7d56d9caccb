//! Signatures of records: who knows none of the keys can neither make a record up nor change one.

use std::fmt;

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use crate::content::{HEX_BYTES, Parts, SIGNATURE, SIGNATURE_END, Signature, is_key_id};
use crate::payload::Payload;

/// A key that records are signed with and checked by: HMAC with SHA-256.
///
/// Its id stands in each record that it signs, so that keys can be replaced one after the other:
/// let consumers accept the old key and the new one, then let applications sign with the new one,
/// and drop the old one when nothing that it signed waits any more.
///
/// ```
/// use audit_core::SigningKey;
///
/// # fn secret() -> Vec<u8> { vec![7; 32] }
/// let key = SigningKey::new("2026-11", secret())?;
/// assert_eq!(format!("{key:?}"), r#"SigningKey("2026-11")"#);
/// # Ok::<(), audit_core::KeyError>(())
/// ```
#[derive(Clone)]
pub struct SigningKey {
    id: String,
    /// Prepared with the secret.
    mac: Hmac<Sha256>,
}

/// The fewest bytes of a secret.
const SHORTEST_SECRET: usize = 16;

/// Why a key cannot be used. It does not show the secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// The id is empty, too long, or has other characters.
    #[error("a signing key's id has 1 to 64 letters, digits, `-`, `_` or `.`")]
    Id,
    /// The secret can be guessed.
    #[error(
        "a signing key's secret needs at least {SHORTEST_SECRET} bytes, and this one has {bytes}: \
         take 32 random ones"
    )]
    Secret {
        /// How many bytes it has.
        bytes: usize,
    },
}

/// Why a payload is not believed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SignatureError {
    /// There is no signature.
    #[error(
        "the record is not signed, and this consumer takes signed ones only: somebody else put it \
         into the queue, or an application lacks `.sign_with(…)`"
    )]
    Missing,
    /// None of the keys has this id.
    #[error(
        "the record is signed with a key that this consumer does not accept, \"{id}\": add that key \
         to `.verify_with(…)` if it is one of yours"
    )]
    UnknownKey {
        /// The id in the signature.
        id: String,
    },
    /// The signature is not of this record, or not by this key.
    #[error("the record's signature is wrong: it was changed or made up after it was signed")]
    Wrong,
}

impl SigningKey {
    /// A key with an id and a secret of at least 16 bytes; 32 random ones are right.
    ///
    /// # Errors
    ///
    /// [`KeyError`] where the id or the secret cannot be used.
    pub fn new(id: impl Into<String>, secret: impl AsRef<[u8]>) -> Result<Self, KeyError> {
        let (id, secret) = (id.into(), secret.as_ref());
        if !is_key_id(id.as_bytes()) {
            return Err(KeyError::Id);
        }
        let bytes = secret.len();
        let mac = Hmac::new_from_slice(secret);
        match mac {
            Ok(mac) if bytes >= SHORTEST_SECRET => Ok(Self { id, mac }),
            _ => Err(KeyError::Secret { bytes }),
        }
    }

    /// The key's id, which is no secret.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The payload with a signature at its end, in place of one that was there. What is no record
    /// stays as it is.
    #[must_use]
    pub fn sign(&self, payload: &Payload) -> Payload {
        let Some(parts) = Parts::of(payload.as_bytes()) else {
            return payload.clone();
        };
        let mac = self.mac_of(parts.signed).finalize().into_bytes();
        let growth = self.signature_bytes();
        let mut signed = Vec::with_capacity(payload.as_bytes().len() + growth);
        signed.push(b'{');
        signed.extend_from_slice(parts.signed);
        signed.extend_from_slice(SIGNATURE);
        signed.extend_from_slice(self.id.as_bytes());
        signed.push(b':');
        signed.extend(hex(&mac));
        signed.extend_from_slice(SIGNATURE_END);
        Payload::from(signed)
    }

    /// The payload [with fewer values](Payload::shrunk_to), and signed, within so many bytes; none where
    /// it is no record.
    #[must_use]
    pub fn sign_shrunk(&self, payload: &Payload, max_bytes: usize) -> Option<Payload> {
        let room = max_bytes.saturating_sub(self.signature_bytes());
        payload.shrunk_to(room).map(|shrunk| self.sign(&shrunk))
    }

    /// What a signature adds to a record, whose last brace is a part of it.
    fn signature_bytes(&self) -> usize {
        SIGNATURE.len() + self.id.len() + ":".len() + HEX_BYTES + SIGNATURE_END.len() - "}".len()
    }

    /// Checks that one of the keys has signed the payload.
    ///
    /// # Errors
    ///
    /// [`SignatureError`] says why it is not believed.
    pub fn verify(keys: &[Self], payload: &Payload) -> Result<(), SignatureError> {
        let parts = Parts::of(payload.as_bytes());
        let (signed, Signature { key_id, hex }) = parts
            .and_then(|parts| Some((parts.signed, parts.signature?)))
            .ok_or(SignatureError::Missing)?;
        let mut of_this_id = keys
            .iter()
            .filter(|key| key.id.as_bytes() == key_id)
            .peekable();
        if of_this_id.peek().is_none() {
            return Err(SignatureError::UnknownKey {
                id: String::from_utf8_lossy(key_id).into_owned(),
            });
        }
        let found = bytes(hex);
        match of_this_id.any(|key| key.mac_of(signed).verify_slice(&found).is_ok()) {
            true => Ok(()),
            false => Err(SignatureError::Wrong),
        }
    }

    fn mac_of(&self, signed: &[u8]) -> Hmac<Sha256> {
        let mut mac = self.mac.clone();
        mac.update(b"{");
        mac.update(signed);
        mac.update(b"}");
        mac
    }
}

impl fmt::Debug for SigningKey {
    /// Shows the id only.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SigningKey").field(&self.id).finish()
    }
}

fn hex(bytes: &[u8]) -> impl Iterator<Item = u8> {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |four: u8| DIGITS[usize::from(four)];
    bytes
        .iter()
        .flat_map(move |byte| [digit(byte >> 4), digit(byte & 15)])
}

/// The bytes of lower-case hexadecimal digits.
fn bytes(hex: &[u8]) -> Vec<u8> {
    let four = |digit: u8| match digit {
        b'0'..=b'9' => digit - b'0',
        _ => digit.wrapping_sub(b'a').wrapping_add(10) & 15,
    };
    hex.chunks(2)
        .map(|pair| {
            pair.iter()
                .fold(0, |byte, digit| (byte << 4) | four(*digit))
        })
        .collect()
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use crate::context::AuditContext;
    use crate::record::{Record, Unsettled};

    const SECRET: &[u8] = b"a secret of 32 bytes, as it says";

    fn key(id: &str) -> SigningKey {
        SigningKey::new(id, SECRET).unwrap()
    }

    fn record() -> Payload {
        Record::new("insert", AuditContext::default())
            .encode()
            .unwrap()
    }

    #[test]
    fn a_signed_record_is_believed_and_reads_as_before() {
        let payload = record();
        let signed = key("k.1").sign(&payload);
        assert_eq!(SigningKey::verify(&[key("k.1")], &signed), Ok(()));
        assert_eq!(SigningKey::verify(&[key("k.1")], &signed.put_off()), Ok(()));
        assert_eq!(key("k.1").sign(&signed), signed, "signed once");
        let read = |payload: &Payload| Record::decode(payload.as_bytes()).unwrap();
        assert_eq!(read(&signed), read(&payload));
    }

    #[test]
    fn any_change_of_a_signed_record_is_noticed() {
        let keys = [key("k.1"), key("k.2")];
        let signed = key("k.1").sign(&record());
        for place in 0..signed.as_bytes().len() {
            let mut changed = signed.as_bytes().to_vec();
            changed[place] ^= 1;
            let changed = Payload::from(changed);
            assert!(SigningKey::verify(&keys, &changed).is_err(), "byte {place}");
        }
        let marked = signed.unsettled(&Unsettled {
            xid: 7,
            origin: None,
        });
        assert_eq!(
            SigningKey::verify(&keys, &marked),
            Err(SignatureError::Wrong)
        );
    }

    #[test]
    fn nothing_but_the_mark_itself_may_stand_in_front_of_a_signed_record() {
        let (keys, signed) = ([key("k.1")], key("k.1").sign(&record()));
        let in_front = |occasion: &[u8]| {
            let rest = &signed.as_bytes()[1..];
            let marked = [br#"{"put_off":""#, occasion, br#"","#, rest].concat();
            Payload::from(marked)
        };
        let is_believed = |occasion: &[u8]| {
            let payload = in_front(occasion);
            let believed = SigningKey::verify(&keys, &payload).is_ok();
            assert_eq!(believed, payload.before_put_off() == signed);
            let digest = payload.content_digest();
            assert_eq!(believed, digest == signed.content_digest());
            believed
        };
        let uuid = b"01234567-89ab-cdef-0123-456789abcdef";
        assert!(is_believed(uuid));
        let fields = br#"","resource_id":"7","x":"34567890123"#;
        assert_eq!(fields.len(), uuid.len());
        assert!(!is_believed(fields));
        assert!(!is_believed(&uuid[1..]));
        for place in 0..uuid.len() {
            for byte in [b'"', b'\\', b'g', b' ', 0, 0xff] {
                let mut other = *uuid;
                other[place] = byte;
                assert!(!is_believed(&other), "{byte} at {place}");
            }
        }
    }

    #[test]
    fn what_is_made_smaller_and_signed_keeps_within_the_bound() {
        for id in ["k", &"k".repeat(64)] {
            let key = key(id);
            let bytes = key.sign(&record()).as_bytes().len() - record().as_bytes().len();
            assert_eq!(bytes, key.signature_bytes());
            for names in 1..40 {
                let mut large = Record::new("update", AuditContext::default());
                for n in 0..names * 7 {
                    large.add_detail(format!("field {n}"), "x".repeat(n));
                }
                let large = key.sign(&large.encode().unwrap());
                let max_bytes = 1_500 + names * 13;
                let signed = key.sign_shrunk(&large, max_bytes).unwrap();
                let bytes = signed.as_bytes().len();
                assert!(bytes <= max_bytes, "{bytes} of {max_bytes}");
                assert_eq!(
                    SigningKey::verify(std::slice::from_ref(&key), &signed),
                    Ok(())
                );
            }
        }
    }

    #[test]
    fn keys_are_replaced_one_after_the_other() {
        let (old, new) = (key("old"), SigningKey::new("new", [9; 32]).unwrap());
        let by_old = old.sign(&record());
        let both = [old.clone(), new.clone()];
        assert_eq!(SigningKey::verify(&both, &by_old), Ok(()));
        assert_eq!(SigningKey::verify(&both, &new.sign(&record())), Ok(()));
        let unknown = SignatureError::UnknownKey {
            id: "old".to_owned(),
        };
        assert_eq!(SigningKey::verify(&[new], &by_old), Err(unknown));
        assert_eq!(
            SigningKey::verify(&both, &record()),
            Err(SignatureError::Missing)
        );
        let same_id = SigningKey::new("old", [1; 32]).unwrap();
        assert_eq!(
            SigningKey::verify(&[same_id], &by_old),
            Err(SignatureError::Wrong)
        );
    }

    #[test]
    fn keys_that_cannot_be_used_are_refused_and_show_no_secret() {
        for id in ["", "a b", "a:b", "ä", &"x".repeat(65)] {
            assert_eq!(SigningKey::new(id, SECRET).unwrap_err(), KeyError::Id);
        }
        let error = SigningKey::new("k", b"s3cr3t").unwrap_err();
        assert_eq!(error, KeyError::Secret { bytes: 6 });
        let shown = format!("{:?} {error} {:?}", error, key("k"));
        assert!(
            !shown.contains("s3cr3t") && !shown.contains("32 bytes, as"),
            "{shown}"
        );
    }
}
