//! What people, programs and attackers send.

use audit_diesel::{Actor, AuditContext, AuditEvent, Auditable, Outcome, Source};
use diesel::prelude::*;
use proptest::collection::vec;
use proptest::prelude::*;
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

diesel::table! {
    things (id) { id -> Text, note -> Text, doc -> Text, }
}

/// A row whose key, text and JSON somebody else has written.
#[derive(Debug, Clone, Queryable, Selectable, Identifiable, Insertable, Auditable)]
#[diesel(table_name = things)]
pub(crate) struct Thing {
    pub(crate) id: String,
    pub(crate) note: String,
    #[audit(with = "raw")]
    pub(crate) doc: String,
}

fn raw(doc: &str) -> Box<RawValue> {
    RawValue::from_string(doc.to_owned()).unwrap()
}

pub(crate) fn text() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        4 => any::<String>(),
        2 => Just("\0".to_owned()),
        1 => Just("␀0\u{1}\u{7f}\"\\u0000".to_owned()),
        1 => Just("\u{feff}😀é".to_owned()),
        1 => (1..30_000_usize).prop_map(|length| "x".repeat(length)),
        // Bytes that do not compress.
        1 => any::<u64>().prop_map(|seed| {
            (0..3_000_u64).map(|n| format!("{:x}", (seed ^ n).wrapping_mul(0x9E37_79B9_7F4A_7C15))).collect()
        }),
    ];
    vec(piece, 0..4).prop_map(|pieces| pieces.concat())
}

fn nested(mut inner: Value, depth: usize) -> Value {
    for level in 0..depth {
        inner = match level % 2 {
            0 => json!([inner]),
            _ => json!({"in": inner}),
        };
    }
    inner
}

fn value() -> impl Strategy<Value = Value> {
    prop_oneof![
        3 => text().prop_map(Value::String),
        1 => any::<f64>().prop_map(|number| json!(number)),
        1 => (text(), 0..700_usize).prop_map(|(text, depth)| nested(text.into(), depth)),
        1 => (text(), 120..130_usize).prop_map(|(text, depth)| nested(text.into(), depth)),
        1 => vec((text(), any::<i64>()), 0..6).prop_map(|entries| {
            Value::Object(entries.into_iter().map(|(key, n)| (key, n.into())).collect::<Map<_, _>>())
        }),
        1 => (0..3_000_usize).prop_map(|keys| {
            Value::Object((0..keys).map(|n| (format!("key {n}"), json!("x".repeat(n)))).collect())
        }),
    ]
}

/// JSON as text, with what only text can say.
pub(crate) fn document() -> impl Strategy<Value = String> {
    let odd = prop::sample::select(vec![
        r#""\u0000""#,
        r#""\ud800 \udc00\ud800""#,
        r#"{"\u0000":1,"a":[1e400000,-1e-99999]}"#,
        "1e400",
        "␀",
    ]);
    prop_oneof![
        3 => value().prop_map(|value| value.to_string()),
        2 => odd.prop_map(|odd| match odd {
            "␀" => "9".repeat(200_000),
            other => other.to_owned(),
        }),
        1 => (0..3_000_usize).prop_map(|depth| format!("{}{}", "[".repeat(depth + 1), "]".repeat(depth + 1))),
    ]
}

pub(crate) fn thing() -> impl Strategy<Value = Thing> {
    (text(), text(), document()).prop_map(|(id, note, doc)| Thing { id, note, doc })
}

pub(crate) fn context() -> impl Strategy<Value = AuditContext> {
    let texts = (
        text(),
        text(),
        text(),
        text(),
        text(),
        text(),
        text(),
        text(),
    );
    (texts, vec((text(), value()), 0..3)).prop_map(|(texts, details)| {
        let (kind, id, organization, project, source, key, client, request) = texts;
        let context = AuditContext::new(Actor::new(kind, id))
            .organization(organization)
            .project(project)
            .source(Source::Other(source.into()))
            .api_key_id(key)
            .oauth_client_id(client)
            .request_id(request);
        details
            .into_iter()
            .fold(context, |context, (key, value)| context.with(key, value))
    })
}

pub(crate) fn event() -> impl Strategy<Value = AuditEvent> {
    let texts = (text(), text(), text());
    (texts, vec((text(), value()), 0..3)).prop_map(|((action, kind, id), details)| {
        let event = AuditEvent::new(action)
            .resource(kind, id)
            .outcome(Outcome::Failure);
        details
            .into_iter()
            .fold(event, |event, (key, value)| event.with(key, value))
    })
}
