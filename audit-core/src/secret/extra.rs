//! The free details of a context, an event or a record, in which secrets are masked by their keys.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::secret::{names_one_of, names_secret};
use crate::storable;

/// Details that were added by hand. `Debug` shows their keys only: which words say secret may
/// not be known before they are recorded.
#[derive(Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Extra(pub(crate) Map<String, Value>);

impl Extra {
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Adds a detail, masked where its key, or one inside it, says secret.
    pub(crate) fn add(&mut self, key: impl Into<String>, value: impl Into<Value>) {
        // Before anything looks into it, which a value that is nested too deep would not survive.
        let (key, mut value) = storable::detail(key.into(), value.into());
        mask_value(&key, &mut value, &names_secret);
        self.0.insert(key, value);
    }

    /// Masks by further words.
    pub(crate) fn mask(&mut self, words: &[&str]) {
        mask(&mut self.0, words);
    }

    /// Whether a word is in a key, however deep.
    pub(crate) fn names(&self, words: &[&str]) -> bool {
        self.0.iter().any(|(key, value)| names(key, value, words))
    }
}

impl fmt::Debug for Extra {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

/// Masks the values whose keys have one of these words.
pub(crate) fn mask(extra: &mut Map<String, Value>, words: &[&str]) {
    for (key, value) in extra {
        mask_value(key, value, &|key| names_one_of(key, words));
    }
}

fn mask_value(key: &str, value: &mut Value, is_secret: &dyn Fn(&str) -> bool) {
    if is_secret(key) {
        *value = json!({"redacted": true});
        return;
    }
    mask_inside(value, is_secret);
}

fn mask_inside(value: &mut Value, is_secret: &dyn Fn(&str) -> bool) {
    match value {
        Value::Object(object) => {
            for (key, value) in object {
                mask_value(key, value, is_secret);
            }
        }
        Value::Array(values) => {
            for value in values {
                mask_inside(value, is_secret);
            }
        }
        _ => {}
    }
}

fn names(key: &str, value: &Value, words: &[&str]) -> bool {
    names_one_of(key, words) || names_inside(value, words)
}

fn names_inside(value: &Value, words: &[&str]) -> bool {
    match value {
        Value::Object(object) => object.iter().any(|(key, value)| names(key, value, words)),
        Value::Array(values) => values.iter().any(|value| names_inside(value, words)),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use crate::{Actor, AuditContext, AuditEvent, Record};

    fn with(key: &str, value: Value) -> Value {
        let event = AuditEvent::new("login").with(key, value.clone());
        let context = AuditContext::default().with(key, value);
        let in_context = Value::Object(context.extra().clone());
        let record = Record::from_event(event, AuditContext::default());
        let in_event = Value::Object(record.extra);
        assert_eq!(in_context, in_event);
        in_event
    }

    #[test]
    fn values_of_secret_keys_are_masked() {
        let mask = json!({"redacted": true});
        for (key, value, expected) in [
            ("endpoint", json!("/v1"), json!({"endpoint": "/v1"})),
            ("apiToken", json!("s3cret"), json!({"apiToken": mask})),
            ("otp", json!(123_456), json!({"otp": mask})),
            ("password", json!(null), json!({"password": mask})),
            ("secrets", json!(["a", {"b": 1}]), json!({"secrets": mask})),
            ("tokenizer", json!("bpe"), json!({"tokenizer": "bpe"})),
            (
                "headers",
                json!({"host": "h", "x-api-key": "s3cret", "deep": {"client_secret": 1, "n": 2}}),
                json!({"headers": {"host": "h", "x-api-key": mask, "deep": {"client_secret": mask, "n": 2}}}),
            ),
            (
                "tries",
                json!([{"user": "ada", "password": "s3cret"}, [{"pin": 1}], "password"]),
                json!({"tries": [{"user": "ada", "password": mask}, [{"pin": mask}], "password"]}),
            ),
        ] {
            assert_eq!(with(key, value), expected);
        }
    }

    #[test]
    fn further_words_mask_a_record() {
        let context = AuditContext::new(Actor::user("1")).with("payer", json!({"iban": "DE1"}));
        let event = AuditEvent::new("paid").with("tax_number", 7).with("sum", 8);
        let mut record = Record::from_event(event, context.clone());
        record.mask_extra(&["iban", "tax number"]);
        let mask = json!({"redacted": true});
        assert_eq!(
            Value::Object(record.extra),
            json!({"tax_number": mask, "sum": 8})
        );
        let extra = Value::Object(record.context.extra().clone());
        assert_eq!(extra, json!({"payer": {"iban": mask}}));
        // The context in force is another's.
        assert_eq!(context.extra()["payer"]["iban"], "DE1");
    }

    #[test]
    fn debug_shows_keys_only() {
        let context = AuditContext::default().with("iban", "DE1");
        let event = AuditEvent::new("paid").with("iban", "DE1");
        let shown = format!("{context:?} {event:?}");
        assert!(shown.contains(r#"{"iban"}"#), "{shown}");
        assert!(!shown.contains("DE1"), "{shown}");
    }
}
