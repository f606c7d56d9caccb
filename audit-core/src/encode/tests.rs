use super::*;
use serde_json::json;

use crate::auditable::AuditFields;
use crate::context::{Actor, Source};
use crate::event::AuditEvent;

#[derive(Serialize)]
struct Versioned<'a> {
    v: u32,
    #[serde(flatten)]
    record: &'a Record,
}

struct Row {
    id: i64,
    name: String,
}

impl AuditFields for Row {
    fn write_changes(old: Option<&Self>, new: Option<&Self>, out: &mut ChangesWriter) {
        out.field("id", old.map(|it| &it.id), new.map(|it| &it.id));
        out.field("na\"me", old.map(|it| &it.name), new.map(|it| &it.name));
    }
}

impl Auditable for Row {
    fn resource_type() -> &'static str {
        "ro\"ws"
    }
    fn resource_id(&self) -> String {
        format!("\n{}", self.id)
    }
}

fn row(name: &str) -> Row {
    Row {
        id: 7,
        name: name.to_owned(),
    }
}

fn context() -> AuditContext {
    AuditContext::new(Actor::user("a\"b\u{1}é"))
        .source(Source::Api)
        .ip([192, 0, 2, 7])
        .with("vehicle", "v1")
}

fn place(seq: u32) -> TransactionRef {
    TransactionRef {
        id: Uuid::now_v7(),
        seq,
    }
}

fn by_serde(record: &Record) -> String {
    let v = WIRE_VERSION;
    serde_json::to_string(&Versioned { v, record }).unwrap()
}

fn text(payload: &Payload) -> &str {
    std::str::from_utf8(payload.as_bytes()).unwrap()
}

#[test]
fn a_record_is_written_as_serde_would() {
    let mut full = Record::update(&row("a"), &row("b"), context()).unwrap();
    full.transaction = Some(place(3));
    full.unsettled = Some(Unsettled {
        xid: 9,
        origin: Some("1/00000001".to_owned()),
    });
    full.extra.insert("why\"".to_owned(), "\\".into());
    full.outcome = Outcome::Denied;
    full.occurred_at = -5;
    let event = AuditEvent::new("login.\"failed\"").resource("users", "ada\n");
    for record in [
        full,
        Record::from_event(event, context()),
        Record::new("bare", AuditContext::default()),
    ] {
        assert_eq!(text(&record.encode().unwrap()), by_serde(&record));
    }
}

#[test]
fn changes_are_encoded_as_their_records_would_be() {
    let (old, new) = (row("a"), row("b"));
    let mut encoder = ChangeEncoder::new(context(), &["vehicle"]);
    let records = [
        Record::insert(&new, context()),
        Record::update(&old, &new, context()),
        Record::delete(&old, context()),
    ];
    let sides = [
        (None, Some(&new)),
        (Some(&old), Some(&new)),
        (Some(&old), None),
    ];
    let mut ids = Vec::new();
    for (seq, (record, (old, new))) in (0..).zip(records.into_iter().zip(sides)) {
        let payload = encoder.encode(old, new, Some(4711), || place(seq)).unwrap();
        let found = Record::decode(payload.as_bytes()).unwrap();
        let mut expected = record.unwrap();
        expected.mask_extra(&["vehicle"]);
        expected.id = found.id;
        expected.occurred_at = 4711;
        expected.transaction = found.transaction;
        assert_eq!(found.transaction.unwrap().seq, seq);
        assert_eq!(text(&payload), by_serde(&expected));
        ids.push(found.id);
    }
    assert!(ids.is_sorted_by(|one, next| one < next), "{ids:?}");
    assert!(
        encoder
            .encode(Some(&old), Some(&old), None, || place(9))
            .is_none()
    );
}

#[test]
fn ids_stay_what_they_are_where_the_count_ends() {
    let id = Uuid::now_v7().as_u128();
    let last = Uuid::from_u128(id | COUNTED);
    let mut ids = Ids { next: Some(last) };
    assert_eq!(ids.next(), last);
    let after = ids.next();
    assert_ne!(after, last);
    for id in [last, after, ids.next()] {
        assert_eq!(id.get_version_num(), 7);
        assert_eq!(id.get_variant(), uuid::Variant::RFC4122);
    }
}

/// Contexts and events with a detail that is written in another form, or that an encoder might take
/// for one that has to be.
fn odd_details() -> AuditContext {
    let mut deep = json!(1);
    for _ in 0..70 {
        deep = json!([deep]);
    }
    AuditContext::new(Actor::user("␀"))
        .with("a", "␀ and \0")
        .with("␀\0", 1)
        .with("long", "x".repeat(100_000))
        .with("k".repeat(300), 1)
        .with("deep", deep)
        .with("list", json!([["␀", {"password": "␀"}], 1e300, null]))
}

#[test]
fn details_are_made_storable_once() {
    let context = odd_details();
    let mut record = Record::new("odd", context.clone());
    record.extra = context.extra().clone();
    record.add_detail("more", "␀\0");
    let payload = record.encode().unwrap();
    let found = Record::decode(payload.as_bytes()).unwrap();
    assert_eq!(found.context.extra(), context.extra());
    assert_eq!(found.extra, record.extra);
    assert_eq!(found.extra["a"], "␀␀ and ␀0");
    assert_eq!(found.extra["more"], "␀␀␀0");
    assert_eq!(found.context.actor_ref().unwrap().id(), "␀␀");
    let mut encoder = ChangeEncoder::new(context.clone(), &[]);
    let row = row("a");
    let payload = encoder.encode(None, Some(&row), None, || place(0)).unwrap();
    let found = Record::decode(payload.as_bytes()).unwrap();
    assert_eq!(found.context.extra(), context.extra());
}

#[test]
fn what_was_put_into_a_record_by_hand_is_made_storable_when_it_is_encoded() {
    let mut record = Record::new("by hand", AuditContext::default());
    let mut deep = json!("\0");
    for _ in 0..100 {
        deep = json!([deep]);
    }
    for (key, value) in [
        ("nul", json!("a\0␀")),
        ("\0", json!({"\0": "\0"})),
        ("long", json!("x".repeat(100_000))),
        ("deep", deep),
        ("fine", json!("␀")),
    ] {
        record.extra.insert(key.to_owned(), value);
    }
    let payload = record.encode().unwrap();
    let found = Record::decode(payload.as_bytes()).unwrap().extra;
    assert_eq!(found["nul"], "a␀0␀␀");
    assert_eq!(found["␀0"], json!({"␀0": "␀0"}));
    assert!(found["long"].as_str().unwrap().len() < 70_000);
    assert!(!text(&payload).contains("\\u0000") && text(&payload).contains("too_deep"));
    assert_eq!(found["fine"], "␀");
    let bytes = |record: &Record| record.encode().unwrap().as_bytes().len();
    for key in 0..200 {
        record
            .extra
            .insert(key.to_string(), json!("y".repeat(9_000)));
    }
    assert!(bytes(&record) < 300_000);
}
