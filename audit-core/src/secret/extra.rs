//! The free details of a context, an event or a record, in which secrets are masked.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::secret::name::{names_one_of, names_secret_detail};
use crate::secret::pairs::{MASK, mask_pairs};
use crate::secret::text::{has_private_key, looks_secret};
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

    /// Adds a detail, masked where its key, or one inside it, says secret, and where a text looks
    /// like one.
    pub(crate) fn add(&mut self, key: impl Into<String>, value: impl Into<Value>) {
        // Before anything looks into it, which a value that is nested too deep would not survive.
        let (key, value) = storable::detail(key.into(), value.into());
        add_masked(&mut self.0, key, value);
    }

    /// Masks by further words.
    pub(crate) fn mask(&mut self, words: &[&str]) {
        mask(&mut self.0, words);
    }

    /// Whether a word is in a key, however deep, or in what stands for a key.
    pub(crate) fn names(&self, words: &[&str]) -> bool {
        self.0.iter().any(|(key, value)| names(key, value, words))
    }
}

impl fmt::Debug for Extra {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

/// Adds a detail to the details of a record, masked as [`Extra::add`] does.
pub(crate) fn add_masked(extra: &mut Map<String, Value>, key: String, mut value: Value) {
    if looks_secret(&key) {
        extra.insert(MASK.to_owned(), masked());
        return;
    }
    Masking::BY_ITSELF.value(&key, &mut value, 0);
    extra.insert(key, value);
}

/// Masks the values whose keys have one of these words.
pub(crate) fn mask(extra: &mut Map<String, Value>, words: &[&str]) {
    let masking = Masking {
        names: &|key| names_one_of(key, words),
        texts: false,
    };
    for (key, value) in extra {
        masking.value(key, value, 0);
    }
}

fn masked() -> Value {
    json!({"redacted": true})
}

/// A longer text is not taken for a name.
const LONGEST_NAME: usize = 256;

/// What is inside of more objects and lists than this is masked: it would have to be looked at by
/// as many calls in each other.
const MAX_DEPTH: usize = 128;

/// In a list of headers or of changed fields, what holds the name: `{"name": "Cookie", …}`.
const LABELS: &[&str] = &["name", "key", "header", "field", "param", "k"];

/// In such a list, what holds the value.
const CONTENTS: &[&str] = &[
    "value", "values", "val", "v", "content", "data", "old", "new", "before", "after",
];

/// What is masked.
struct Masking<'a> {
    /// Values whose key says secret by this.
    names: &'a dyn Fn(&str) -> bool,
    /// Texts that look like a secret as well.
    texts: bool,
}

impl Masking<'_> {
    /// What this library finds by itself.
    const BY_ITSELF: Self = Masking {
        names: &names_secret_detail,
        texts: true,
    };

    fn value(&self, key: &str, value: &mut Value, depth: usize) {
        if (self.names)(key) || (depth > MAX_DEPTH && (value.is_object() || value.is_array())) {
            *value = masked();
            return;
        }
        match value {
            Value::Object(object) => self.object(object, depth + 1),
            Value::Array(values) => {
                if self.texts && values.iter().any(begins_private_key) {
                    // The lines of a key: the others do not say what they are.
                    *value = masked();
                } else {
                    self.list(key, values, depth + 1);
                }
            }
            Value::String(text) if self.texts => {
                if looks_secret(text) {
                    *value = masked();
                } else if let Some(other) = mask_pairs(text) {
                    *text = other;
                }
            }
            _ => {}
        }
    }

    fn object(&self, object: &mut Map<String, Value>, depth: usize) {
        if self.texts && object.keys().any(|key| looks_secret(key)) {
            object.retain(|key, _| !looks_secret(key));
            object.insert(MASK.to_owned(), masked());
        }
        let labelled = object.iter().any(|(key, label)| {
            is_one_of(key, LABELS) && label.as_str().is_some_and(|label| (self.names)(label))
        });
        for (key, value) in object {
            if labelled && is_one_of(key, CONTENTS) {
                *value = masked();
            } else {
                self.value(key, value, depth);
            }
        }
    }

    /// A list, which may be one of names and values: `[["Cookie", "a=b"], …]`, or `["Cookie",
    /// "a=b", …]` where it is called `headers`.
    fn list(&self, key: &str, values: &mut [Value], depth: usize) {
        let flat = is_flat_headers(key, values);
        let mut after_name = false;
        for value in values {
            let is_name = |value: &Value| value.as_str().is_some_and(|name| (self.names)(name));
            if flat && after_name {
                *value = masked();
                after_name = false;
                continue;
            }
            after_name = is_name(value);
            if let Value::Array(pair) = value
                && pair.first().is_some_and(is_name)
            {
                pair.iter_mut().skip(1).for_each(|value| *value = masked());
            }
            self.value("", value, depth);
        }
    }
}

fn is_one_of(key: &str, words: &[&str]) -> bool {
    words.iter().any(|word| key.eq_ignore_ascii_case(word))
}

fn begins_private_key(value: &Value) -> bool {
    value.as_str().is_some_and(has_private_key)
}

/// Whether names and values stand in turn, as in Node's `rawHeaders`.
fn is_flat_headers(key: &str, values: &[Value]) -> bool {
    names_one_of(key, &["header"])
        && values.len().is_multiple_of(2)
        && values.iter().all(Value::is_string)
}

fn names(key: &str, value: &Value, words: &[&str]) -> bool {
    names_one_of(key, words) || names_inside(value, words)
}

/// Whether a word is in a key, or in a text that may stand for one.
fn names_inside(value: &Value, words: &[&str]) -> bool {
    match value {
        Value::Object(object) => object.iter().any(|(key, value)| names(key, value, words)),
        Value::Array(values) => values.iter().any(|value| names_inside(value, words)),
        Value::String(text) => text.len() <= LONGEST_NAME && names_one_of(text, words),
        _ => false,
    }
}

#[cfg(test)]
#[expect(clippy::expect_used, reason = "tests")]
mod tests {
    use serde_json::{Value, json};

    use crate::{Actor, AuditContext, AuditEvent, Record, Source};

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
    fn keys_of_free_details_that_say_secret() {
        let mask = json!({"redacted": true});
        for key in [
            "authorization",
            "proxy-authorization",
            "cookie",
            "set-cookie",
            "session",
            "dsn",
            "database_url",
            "psk",
            "private_pem",
            "x-hub-signature-256",
            "ssh_key",
            "passkey",
        ] {
            let inside = json!({"deep": [{key: "s3cret"}]});
            assert_eq!(with(key, json!("s3cret")), json!({key: mask}));
            assert_eq!(
                with("detail", inside),
                json!({"detail": {"deep": [{key: mask}]}})
            );
        }
        let numbers = json!({"token_count": 7, "has_password": true, "session_type": "web"});
        assert_eq!(with("user", numbers.clone()), json!({"user": numbers}));
    }

    #[test]
    fn texts_that_look_like_a_secret_are_masked_whatever_their_key() {
        let mask = json!({"redacted": true});
        for text in [
            "Bearer s3cret",
            "Basic dXNlcjpwYXNz",
            "-----BEGIN PRIVATE KEY-----\nMIIE",
            "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl",
            "postgres://app:s3cret@db/app",
        ] {
            assert_eq!(with("x", json!(text)), json!({"x": mask}));
            assert_eq!(
                with("x", json!({"y": [1, {"z": text}, [[{"z": text}]]]})),
                json!({"x": {"y": [1, {"z": mask}, [[{"z": mask}]]]}})
            );
            let sentence = format!("it was ({text}) then");
            assert_eq!(with("x", json!(sentence)), json!({"x": mask}));
            // As a key.
            assert_eq!(with(text, json!(1)), json!({"[redacted]": mask}));
            assert_eq!(
                with("x", json!({text: 1, "y": 2})),
                json!({"x": {"y": 2, "[redacted]": mask}})
            );
        }
        let key = json!([
            "-----BEGIN PRIVATE KEY-----",
            "MIIE",
            "-----END PRIVATE KEY-----"
        ]);
        assert_eq!(with("lines", key), json!({"lines": mask}));
    }

    #[test]
    fn secrets_behind_their_names_are_masked() {
        let mask = json!({"redacted": true});
        for (key, value, expected) in [
            (
                "headers",
                json!([["host", "h"], ["Cookie", "a=b"], ["x-api-key", "k", 1]]),
                json!([["host", "h"], ["Cookie", mask], ["x-api-key", mask, mask]]),
            ),
            (
                "headers",
                json!([{"name": "Cookie", "value": "a=b"}, {"name": "host", "value": "h"}]),
                json!([{"name": "Cookie", "value": mask}, {"name": "host", "value": "h"}]),
            ),
            (
                "rawHeaders",
                json!(["Host", "h", "Cookie", "a=b", "Accept", "x"]),
                json!(["Host", "h", "Cookie", mask, "Accept", "x"]),
            ),
            (
                "changed",
                json!([{"Field": "password", "Old": "a", "New": "b", "by": 7}]),
                json!([{"Field": "password", "Old": mask, "New": mask, "by": 7}]),
            ),
            (
                "fields",
                json!(["password", "email"]),
                json!(["password", "email"]),
            ),
            (
                "endpoint",
                json!("/reset?token=5f2a&page=2"),
                json!("/reset?token=[redacted]&page=2"),
            ),
            (
                "body",
                json!("{\"user\":\"ada\",\"password\":\"s3cret\"}"),
                json!("{\"user\":\"ada\",\"password\":\"[redacted]\"}"),
            ),
            ("scope", json!("token:write"), json!("token:write")),
        ] {
            assert_eq!(with(key, value), json!({key: expected}));
        }
    }

    #[test]
    fn details_as_deep_as_one_likes() {
        let mut deep = json!("Bearer s3cret");
        for _ in 0..500 {
            deep = json!({"a": [deep]});
        }
        let masked = with("deep", deep).to_string();
        // It is left out from some depth on.
        assert!(!masked.contains("s3cret") && masked.contains("too_deep"));
    }

    #[test]
    fn texts_of_a_context_and_an_event_are_masked() {
        let url = "postgres://app:s3cret@db";
        let context = AuditContext::new(Actor::new(url, url))
            .organization(url)
            .project("token=s3cret")
            .request_id("Bearer s3cret")
            .api_key_id(url)
            .oauth_client_id(url)
            .source(Source::Other(url.into()));
        let event = AuditEvent::new(url)
            .resource(url, url)
            .with("reason", "password: s3cret");
        let record = Record::from_event(event, context);
        let json = serde_json::to_string(&record).expect("JSON");
        assert!(!json.contains("s3cret"), "{json}");
        assert_eq!(record.context.project_ref(), Some("token=[redacted]"));
        // Words of the application that only read like one.
        let event = AuditEvent::new("token: create").resource("password", "ada");
        assert_eq!(event.action(), "token: create");
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
