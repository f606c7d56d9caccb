use serde_json::{Value, json};

use crate::secret::growth::assert_grows_with_length;

use crate::context::{Actor, AuditContext, Source};
use crate::event::AuditEvent;
use crate::record::Record;

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

/// Every form in which a framework, a driver or a log gives a list of headers: with the secret value
/// at the place of `S`, which nothing but its name tells.
fn header_lists(name: &str) -> Vec<Value> {
    let bytes = |text: &str| json!(text.as_bytes());
    vec![
        // Node's `rawHeaders`, Redis' HGETALL, Ruby's Rack, a command line.
        json!([name, "S", "Accept", "*/*"]),
        json!(["Accept", "*/*", name, "S"]),
        json!(["GET", "/", "Accept", "*/*", name, "S"]),
        json!([format!("{name}:"), "S"]),
        json!([format!("--{name}"), "S"]),
        json!(["Length", 5, name, "S"]),
        json!([name, ["S", "S"], "Accept", ["*/*"]]),
        json!([name, {"raw": "S"}]),
        json!([bytes(name), bytes("S")]),
        // Pairs, as in Python's WSGI and ASGI, and with further marks, as in HPACK.
        json!([["Accept", "*/*"], [name, "S"]]),
        json!([[name, "S", true], ["Accept", "*/*"]]),
        json!([[bytes(name), bytes("S")]]),
        json!([[[name, ["S"]]]]),
        json!([{"0": name, "1": "S"}]),
        // Objects: HAR, Postman, Envoy, CloudFront, GCP.
        json!([{"name": name, "value": "S"}]),
        json!([{"headerName": name, "headerValue": "S"}]),
        json!([{"header_name": name, "raw_value": "S"}]),
        json!({"key": name, "value": {"stringValue": "S"}}),
        json!([{"n": name, "v": "S"}]),
        // Names here, values there.
        json!({"names": ["Accept", name], "values": ["any", "S"]}),
        json!({"columns": ["id", name], "rows": [[1, "S"]]}),
        // Texts.
        json!([format!("{name}: S"), "Accept: */*"]),
        json!(json!(["Accept", "*/*", name, "S"]).to_string()),
        json!(json!({"request": {"raw": [name, "S"]}}).to_string()),
        json!(format!("[({name:?}, \"S\"), (\"accept\", \"*/*\")]")),
        json!(format!("[('accept', '*/*'), ('{name}', 'S')]")),
        json!(format!("[(b'{name}', b'S')]")),
    ]
}

#[test]
fn a_value_that_only_its_name_tells_is_masked_in_every_form_of_a_list_of_headers() {
    for name in ["Cookie", "x-api-key", "PROXY-AUTHORIZATION", "session_id"] {
        for list in header_lists(name) {
            for key in ["x", "request", "rawHeaders", "fields", "params"] {
                let masked = with(key, list.clone()).to_string();
                assert_masked(&masked);
                let is_other = list.to_string().contains("*/*");
                assert_eq!(masked.contains("*/*"), is_other, "{masked}");
                let deep = json!({"deep": [{"er": [list.clone()]}]});
                assert_masked(&with(key, deep).to_string());
            }
        }
    }
}

#[test]
fn a_value_that_reads_like_a_name_hides_no_name() {
    let list = json!(["x-a", "cookie", "Cookie", "S", "x-b", "b"]);
    for key in ["rawHeaders", "x"] {
        let masked = with(key, list.clone()).to_string();
        assert_masked(&masked);
        assert!(masked.contains("\"x-b\",\"b\""), "{masked}");
    }
}

fn assert_masked(json: &str) {
    // The letter, alone in its quotes, and as a byte.
    let forms = ["\"S\"", "[83]", "'S'", ": S\"", "\\\"S\\\""];
    let is_left = forms.iter().any(|secret| json.contains(secret));
    assert!(json.contains("redacted") && !is_left, "{json}");
}

#[test]
fn a_list_of_names_stays_a_list_of_names() {
    for (key, list) in [
        ("fields", json!(["password", "email"])),
        ("changed_columns", json!(["id", "api_token", "name"])),
        ("scopes", json!(["token:write", "session:read"])),
        ("amr", json!(["pwd", "otp", "mfa"])),
        ("tags", json!(["secret", "urgent"])),
        ("words", json!(["wrong password", "try again"])),
        ("tries", json!([1, 2, "token"])),
    ] {
        assert_eq!(with(key, list.clone()), json!({key: list}));
    }
}

#[test]
fn a_hostile_list_takes_time_that_grows_with_its_length() {
    for part in ["Cookie ", "a ", "[ ", "token-token "] {
        assert_grows_with_length(part, |text| {
            let list: Vec<_> = text.split(' ').collect();
            with("fields", json!(list));
            with("x", json!(json!(list).to_string()));
        });
    }
}
