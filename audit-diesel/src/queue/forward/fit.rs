//! Records that the journal took and that are too large for its target.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use audit_core::{Payload, SigningKey};

use crate::log::log;

/// The target's bound, once it has refused something.
pub(in crate::queue) struct Fit {
    max_bytes: AtomicUsize,
    /// Signs what is made smaller anew.
    signing_key: Option<SigningKey>,
}

impl Fit {
    pub(in crate::queue) fn new(signing_key: Option<SigningKey>) -> Self {
        Self {
            max_bytes: AtomicUsize::new(usize::MAX),
            signing_key,
        }
    }

    /// The target takes payloads of so many bytes.
    pub(in crate::queue) fn learn(&self, max_bytes: usize) {
        self.max_bytes.store(max_bytes, Relaxed);
    }

    /// The payload as the target gets it: with sizes in place of the values of a record that is too
    /// large.
    pub(in crate::queue) fn fitting(&self, payload: &Payload) -> Payload {
        let max_bytes = self.max_bytes.load(Relaxed);
        if payload.as_bytes().len() <= max_bytes {
            return payload.clone();
        }
        // What is no record cannot be made smaller, and ends up in quarantine, where somebody
        // looks at it.
        self.shrunk(payload, max_bytes)
            .unwrap_or_else(|| Payload::from(payload.as_bytes()[..max_bytes].to_vec()))
    }

    /// Says aloud which payloads do not arrive as they are.
    pub(in crate::queue) fn warn(&self, payloads: &[Payload]) {
        let max_bytes = self.max_bytes.load(Relaxed);
        let sizes = payloads.iter().map(|payload| payload.as_bytes().len());
        for bytes in sizes.filter(|bytes| *bytes > max_bytes) {
            log!(
                warn,
                bytes,
                max_bytes,
                "a record of the journal is too large for its target: its values are replaced by \
                 their sizes; let the target take records as large as the journal does"
            );
        }
    }

    fn shrunk(&self, payload: &Payload, max_bytes: usize) -> Option<Payload> {
        // What was not signed, or wrongly, does not become genuine here.
        let signed_by = |key: &&SigningKey| {
            let key = std::slice::from_ref(*key);
            SigningKey::verify(key, payload).is_ok()
        };
        let shrunk = match self.signing_key.as_ref().filter(signed_by) {
            Some(key) => key.sign_shrunk(payload, max_bytes),
            None => payload.shrunk_to(max_bytes),
        }?;
        (shrunk.as_bytes().len() <= max_bytes).then_some(shrunk)
    }
}
