//! What a record's changes have to be, worked out from the rows alone.

use serde_json::{Map, Value, json};

/// The fields of the model, and how they are recorded.
const FIELDS: [(&str, bool); 7] = [
    ("id", false),
    ("stamp", false),
    ("version", false),
    ("balance", false),
    ("note", false),
    ("api_token", true),
    ("seen", false),
];

/// The changes between two rows, of which one may not exist.
pub fn changes(old: Option<&Value>, new: Option<&Value>) -> Value {
    let mut changes = Map::new();
    for (field, redacted) in FIELDS {
        let (old, new) = (old.map(|row| &row[field]), new.map(|row| &row[field]));
        let change = match (old, new) {
            (Some(old), Some(new)) if old == new => continue,
            _ if redacted => json!({ "redacted": true }),
            (Some(old), Some(new)) => json!({ "old": old, "new": new }),
            (None, Some(new)) => json!({ "new": new }),
            (Some(old), None) => json!({ "old": old }),
            (None, None) => continue,
        };
        changes.insert(field.to_owned(), change);
    }
    Value::Object(changes)
}

/// The old side of all changes.
pub fn old_values(changes: &Value) -> Vec<(&String, Option<&Value>)> {
    let fields = changes.as_object().into_iter().flatten();
    fields
        .map(|(name, sides)| (name, sides.get("old")))
        .collect()
}
