//! What a payload says, apart from the marks in front of it and the signature at its end.

use serde::de::IgnoredAny;
use sha2::{Digest, Sha256};
use uuid::Uuid;
use uuid::fmt::Hyphenated;

use crate::payload::Payload;

/// SHA-256 of what a record says.
pub type ContentDigest = [u8; 32];

/// How a payload begins that was [put off](Payload::put_off); the occasion's id follows.
pub(crate) const PUT_OFF: &[u8] = br#"{"put_off":""#;

/// What stands between the occasion's id and what the payload was before, without its brace.
pub(crate) const PUT_OFF_END: &[u8] = b"\",";

/// The mark of [`Payload::unsettled`], without the brace before it.
const UNSETTLED: &[u8] = br#""unsettled":"#;

/// What stands before the key's id in a signature.
pub(crate) const SIGNATURE: &[u8] = br#","sig":""#;

/// What ends a signature and its record.
pub(crate) const SIGNATURE_END: &[u8] = br#""}"#;

/// The digits of a signature.
pub(crate) const HEX_BYTES: usize = 64;

/// The longest id of a key, in bytes.
pub(crate) const LONGEST_KEY_ID: usize = 64;

/// A signature as it stands in a payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Signature<'a> {
    pub(crate) key_id: &'a [u8],
    pub(crate) hex: &'a [u8],
}

/// The parts of a payload that is a JSON object.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Parts<'a> {
    /// What stands between the braces, without the signature and what a queue put in front.
    pub(crate) signed: &'a [u8],
    pub(crate) signature: Option<Signature<'a>>,
}

impl<'a> Parts<'a> {
    pub(crate) fn of(payload: &'a [u8]) -> Option<Self> {
        let marked = after_put_off(payload);
        let inner = marked.or_else(|| payload.strip_prefix(b"{"))?;
        let inner = inner.strip_suffix(b"}")?;
        let (signed, signature) = match signature(inner) {
            Some((signed, signature)) => (signed, Some(signature)),
            None => (inner, None),
        };
        Some(Self { signed, signature })
    }

    /// What stands between the braces, without anything that was put around the record.
    fn content(&self) -> &'a [u8] {
        after_unsettled(self.signed).unwrap_or(self.signed)
    }
}

impl Payload {
    /// SHA-256 of what the payload says: of the record as it was encoded, without the marks that
    /// say that its transaction is in doubt or that it was put off, and without a signature. The
    /// same record has the same digest on whichever way it comes.
    pub fn content_digest(&self) -> ContentDigest {
        let mut digest = Sha256::new();
        if let Some(whole) = self.whole() {
            digest.update(&whole.digest);
        }
        match Parts::of(self.as_bytes()) {
            Some(parts) => {
                digest.update(b"{");
                digest.update(parts.content());
                digest.update(b"}");
            }
            None => digest.update(self.as_bytes()),
        }
        digest.finalize().into()
    }
}

/// What a payload was before it was put off, without its brace. The mark is nothing but a UUID: no
/// signature covers it, and whatever else could stand there could name fields of the record.
pub(crate) fn after_put_off(payload: &[u8]) -> Option<&[u8]> {
    let rest = payload.strip_prefix(PUT_OFF)?;
    let (occasion, rest) = rest.split_at_checked(Hyphenated::LENGTH)?;
    Uuid::try_parse_ascii(occasion).ok()?;
    rest.strip_prefix(PUT_OFF_END)
}

fn after_unsettled(inner: &[u8]) -> Option<&[u8]> {
    let rest = inner.strip_prefix(UNSETTLED)?;
    let mut values = serde_json::Deserializer::from_slice(rest).into_iter::<IgnoredAny>();
    values.next()?.ok()?;
    rest.get(values.byte_offset()..)?.strip_prefix(b",")
}

/// A signature at the end of what stands between the braces, and what comes before it.
fn signature(inner: &[u8]) -> Option<(&[u8], Signature<'_>)> {
    let text = inner.strip_suffix(b"\"")?;
    let (rest, hex) = text.split_at_checked(text.len().checked_sub(HEX_BYTES)?)?;
    let rest = rest.strip_suffix(b":")?;
    if !hex
        .iter()
        .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
    {
        return None;
    }
    let earliest = rest.len().saturating_sub(LONGEST_KEY_ID + SIGNATURE.len());
    let window = rest.get(earliest..)?;
    let at = window
        .windows(SIGNATURE.len())
        .rposition(|it| it == SIGNATURE)?;
    let key_id = &window[at + SIGNATURE.len()..];
    let signed = &rest[..earliest + at];
    is_key_id(key_id).then_some((signed, Signature { key_id, hex }))
}

/// Whether these bytes may be a key's id: letters, digits, `-`, `_` and `.`.
pub(crate) fn is_key_id(id: &[u8]) -> bool {
    let fits = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.".contains(byte);
    (1..=LONGEST_KEY_ID).contains(&id.len()) && id.iter().all(fits)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use crate::context::AuditContext;
    use crate::record::{Record, Unsettled};
    use crate::signature::SigningKey;

    #[test]
    fn what_is_put_around_a_record_does_not_change_its_content() {
        let key = SigningKey::new("2026-11", [7; 32]).unwrap();
        let plain = Record::new("insert", AuditContext::default())
            .encode()
            .unwrap();
        let expected: ContentDigest = Sha256::digest(plain.as_bytes()).into();
        let origin = Some("1}/\"{ 2".to_owned());
        let unsettled = plain.unsettled(&Unsettled { xid: 7, origin });
        for payload in [
            plain.clone(),
            plain.put_off(),
            unsettled.clone(),
            unsettled.put_off().put_off(),
            key.sign(&plain),
            key.sign(&unsettled).put_off(),
        ] {
            assert_eq!(payload.content_digest(), expected, "{payload:?}");
        }
        let other = Record::new("insert", AuditContext::default())
            .encode()
            .unwrap();
        assert_ne!(other.content_digest(), expected);
    }

    #[test]
    fn what_is_no_record_has_a_digest_of_all_of_it() {
        for bytes in [&b""[..], b"{", b"}", b"{}", b"no record", b"[1]"] {
            let expected: ContentDigest = Sha256::digest(bytes).into();
            assert_eq!(Payload::from(bytes).content_digest(), expected);
        }
    }
}
