//! Nobody takes a record's place: a duplicate says the same, and a signature tells whose it is.

use audit_diesel::{ConsumerError, MemoryQueue, Payload, Queue, Record, SigningKey, Unsettled};
use diesel::prelude::*;

use super::app;
use super::helpers::*;
use super::trail::audit_logs;

const SAYS_OTHERWISE: &str = "a record of this id that says something else is stored";

/// Another record with the same id.
fn forgery_of(payload: &Payload) -> Payload {
    let mut record = Record::decode(payload.as_bytes()).unwrap();
    record.action = "forged".to_owned();
    record.encode().unwrap()
}

fn bytes(payloads: &[Payload]) -> Vec<Vec<u8>> {
    let mut bytes: Vec<_> = payloads.iter().map(|p| p.as_bytes().to_vec()).collect();
    bytes.sort();
    bytes
}

fn held(app: &super::App) -> Vec<Vec<u8>> {
    let mut held: Vec<_> = quarantined(app)
        .into_iter()
        .map(|row| row.payload)
        .collect();
    held.sort();
    held
}

#[test]
fn a_record_with_the_id_of_a_stored_one_and_other_content_is_quarantined() {
    // Few records, and enough for a batch that is looked up first.
    for count in [1, 150] {
        let app = app();
        let queue = MemoryQueue::new();
        let consumer = consumer(&app, queue.clone());
        let genuine = payloads(count);
        queue.push(&genuine).unwrap();
        consumer.flush().unwrap();
        let forged: Vec<_> = genuine.iter().map(forgery_of).collect();
        // Twice: it is said once.
        for _ in 0..2 {
            queue.push(&forged).unwrap();
            consumer.flush().unwrap();
        }
        assert_eq!(stored(&app), names(count));
        assert_eq!(held(&app), bytes(&forged));
        for row in quarantined(&app) {
            assert!(row.reason.starts_with(SAYS_OTHERWISE), "{}", row.reason);
        }
        let stats = consumer.stats();
        let count = count as u64;
        assert_eq!(
            (stats.stored, stats.quarantined),
            (count, count),
            "{stats:?}"
        );
        assert_eq!(stats.contradicting, count, "{stats:?}");
    }
}

#[test]
fn a_forgery_that_comes_first_does_not_make_the_true_record_vanish() {
    for in_one_batch in [true, false] {
        let app = app();
        let queue = MemoryQueue::new();
        let consumer = consumer(&app, queue.clone());
        let genuine = payload("n.0");
        let forged = forgery_of(&genuine);
        queue.push(std::slice::from_ref(&forged)).unwrap();
        if !in_one_batch {
            consumer.flush().unwrap();
        }
        queue.push(&[payload("n.1"), genuine.clone()]).unwrap();
        consumer.flush().unwrap();
        assert_eq!(stored(&app), ["forged", "n.1"]);
        assert_eq!(held(&app), bytes(&[genuine]));
        assert_eq!(consumer.stats().contradicting, 1);
    }
}

#[test]
fn the_same_record_again_is_a_duplicate_whatever_stands_around_it() {
    let app = app();
    let key = SigningKey::new("k1", [7; 32]).unwrap();
    let queue = MemoryQueue::new();
    let consumer = consumer(&app, queue.clone());
    let genuine = payload("n.0");
    queue.push(std::slice::from_ref(&genuine)).unwrap();
    consumer.flush().unwrap();
    let again = [
        genuine.clone(),
        genuine.put_off(),
        key.sign(&genuine),
        genuine.clone(),
    ];
    queue.push(&again).unwrap();
    consumer.flush().unwrap();
    let stats = consumer.stats();
    assert_eq!((stats.stored, stats.duplicates), (1, 4), "{stats:?}");
    assert_eq!((stats.quarantined, stats.contradicting), (0, 0));
}

#[test]
fn a_row_that_came_another_way_contradicts_nobody() {
    let app = app();
    let queue = MemoryQueue::new();
    let consumer = consumer(&app, queue.clone());
    let genuine = payload("n.0");
    queue.push(std::slice::from_ref(&genuine)).unwrap();
    consumer.flush().unwrap();
    let conn = &mut *app.pool.get().unwrap();
    audit_diesel::exempt(conn, "an import without digests", |conn| {
        diesel::update(audit_logs::table)
            .set(audit_logs::digest.eq(None::<Vec<u8>>))
            .execute(conn)
    })
    .unwrap();
    queue.push(&[genuine]).unwrap();
    consumer.flush().unwrap();
    let stats = consumer.stats();
    assert_eq!((stats.duplicates, stats.quarantined), (1, 0), "{stats:?}");
}

#[test]
fn only_what_one_of_the_keys_has_signed_is_stored() {
    let app = app();
    let [old, new, lost] = ["old", "new", "lost"]
        .map(|id| SigningKey::new(id, format!("a long enough secret: {id}")).unwrap());
    let queue = MemoryQueue::new();
    let consumer = builder(&app, queue.clone())
        .verify_with([old.clone(), new.clone()])
        .spawn()
        .unwrap();
    let record = |n: usize| payload(&format!("n.{n}"));
    let changed = {
        let signed = new.sign(&record(9)).as_bytes().to_vec();
        let text = String::from_utf8(signed).unwrap().replace("n.9", "n.8");
        Payload::from(text.into_bytes())
    };
    let marked = Unsettled {
        xid: 1,
        origin: None,
    };
    let refused = [
        (record(5), "is not signed"),
        (
            lost.sign(&record(6)),
            "a key that this consumer does not accept, \"lost\"",
        ),
        (changed, "signature is wrong"),
        (
            new.sign(&record(7)).unsettled(&marked),
            "signature is wrong",
        ),
        (Payload::from(&b"no record"[..]), "not an audit record"),
    ];
    queue
        .push(&[old.sign(&record(0)), new.sign(&record(1)).put_off()])
        .unwrap();
    let forged: Vec<_> = refused.iter().map(|(payload, _)| payload.clone()).collect();
    queue.push(&forged).unwrap();
    consumer.flush().unwrap();
    assert_eq!(stored(&app), ["n.0", "n.1"]);
    assert_eq!(held(&app), bytes(&forged));
    for row in quarantined(&app) {
        let (_, words) = refused
            .iter()
            .find(|(payload, _)| payload.as_bytes() == row.payload)
            .unwrap();
        assert!(row.reason.contains(words), "{words}: {}", row.reason);
        assert!(!row.reason.contains("secret"), "{}", row.reason);
    }
    let no_keys = builder(&app, queue).verify_with([]).spawn().unwrap_err();
    assert!(
        matches!(no_keys, ConsumerError::OutOfRange { .. }),
        "{no_keys}"
    );
}

/// What no signature covers must not be able to say anything.
#[test]
fn a_signed_record_is_stored_as_it_was_signed_or_not_at_all() {
    let app = app();
    let key = SigningKey::new("k1", [7; 32]).unwrap();
    let queue = MemoryQueue::new();
    let consumer = builder(&app, queue.clone())
        .verify_with([key.clone()])
        .spawn()
        .unwrap();
    let in_front = |said: &str, payload: &Payload| {
        let rest = std::str::from_utf8(&payload.as_bytes()[1..]).unwrap();
        Payload::from(format!("{{{said},{rest}").into_bytes())
    };
    let uuid = uuid::Uuid::now_v7();
    let by_mark = format!(
        r#""put_off":"{}""#,
        r#"","resource_id":"7","x":"34567890123"#
    );
    let by_mark_and_more = format!(r#""put_off":"{uuid}","resource_id":"7""#);
    let forgeries = [
        &*by_mark,
        &by_mark_and_more,
        r#""resource_id":"7""#,
        r#""x":"""#,
    ];
    let forged: Vec<_> = (1..)
        .zip(forgeries)
        .map(|(n, said)| in_front(said, &key.sign(&payload(&format!("n.{n}")))))
        .collect();
    queue.push(&forged).unwrap();
    let put_off = key.sign(&payload("n.0")).put_off();
    queue.push(&[put_off]).unwrap();
    consumer.flush().unwrap();
    assert_eq!(stored(&app), ["n.0"]);
    let quarantined = quarantined(&app);
    assert_eq!(quarantined.len(), forgeries.len());
    for row in quarantined {
        assert!(row.reason.contains("signature is wrong"), "{}", row.reason);
    }
}

/// As `docs/threats.md` says: a signature does not age.
#[test]
fn a_record_that_is_put_in_again_after_its_row_was_deleted_is_stored_again() {
    let app = app();
    let key = SigningKey::new("k1", [7; 32]).unwrap();
    let queue = MemoryQueue::new();
    let consumer = builder(&app, queue.clone())
        .verify_with([key.clone()])
        .spawn()
        .unwrap();
    let signed = [key.sign(&payload("n.0"))];
    for round in 1..=2 {
        queue.push(&signed).unwrap();
        consumer.flush().unwrap();
        assert_eq!(stored(&app), ["n.0"]);
        assert_eq!(consumer.stats().stored, round);
        let conn = &mut *app.pool.get().unwrap();
        audit_diesel::exempt(conn, "retention", |conn| {
            diesel::delete(audit_logs::table).execute(conn)
        })
        .unwrap();
    }
}
