//! A record on its way, as those see it who only carry it.

use std::fmt;
use std::sync::Arc;

/// A record as it travels: encoded, opaque to the queue.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Payload {
    bytes: Arc<[u8]>,
    whole: Option<Arc<Whole>>,
}

/// What a queue holds where a [`Payload`] is the beginning of it only.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Whole {
    /// Its size.
    pub bytes: u64,
    /// A digest of all of it, with the algorithm's name before it: `sha1:` and 40 digits.
    pub digest: String,
}

impl Payload {
    /// The bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The beginning of what a queue holds, which is too large to be a record.
    pub fn beginning(bytes: Vec<u8>, whole: Whole) -> Self {
        Self {
            bytes: bytes.into(),
            whole: Some(Arc::new(whole)),
        }
    }

    /// What the queue holds, where this is the beginning of it only.
    pub fn whole(&self) -> Option<&Whole> {
        self.whole.as_deref()
    }
}

impl From<Vec<u8>> for Payload {
    fn from(bytes: Vec<u8>) -> Self {
        Self {
            bytes: bytes.into(),
            whole: None,
        }
    }
}

impl From<&[u8]> for Payload {
    fn from(bytes: &[u8]) -> Self {
        Self {
            bytes: bytes.into(),
            whole: None,
        }
    }
}

impl fmt::Debug for Payload {
    /// Shows the length only: what a payload holds belongs in the trail, not in a log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Payload({} bytes)", self.bytes.len())
    }
}
