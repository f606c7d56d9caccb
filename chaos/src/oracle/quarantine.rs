//! What was set aside: poison, and writes that nobody can tell the end of.

use std::collections::HashMap;

use audit_diesel::Record;

use super::{Key, Recorded};

/// The quarantine.
#[derive(Default)]
pub struct Quarantine {
    /// The reasons, by write.
    pub writes: HashMap<Key, String>,
    /// How many payloads are no writes.
    pub poisoned: u64,
}

impl Quarantine {
    pub fn read(held: Vec<(String, Vec<u8>)>) -> Self {
        let mut quarantine = Self::default();
        for (reason, payload) in held {
            match write(&payload) {
                Some(key) => drop(quarantine.writes.insert(key, reason)),
                None => quarantine.poisoned += 1,
            }
        }
        quarantine
    }
}

fn write(payload: &[u8]) -> Option<Key> {
    let record = Record::decode(payload).ok()?;
    if record.resource_type.as_deref() != Some("accounts") {
        return None;
    }
    let recorded = Recorded {
        request_id: record.context.request_id_ref().map(str::to_owned),
        action: record.action,
        resource_id: record.resource_id,
        actor_id: None,
        changes: record.changes.and_then(|changes| changes.to_value().ok()),
    };
    Some(recorded.key())
}
