use audit_diesel::{MemoryQueue, Payload, Queue, SigningKey, Unsettled};
use diesel::connection::SimpleConnection;

use super::helpers::*;
use super::{ADD_DIGEST, REFUSE_ALL, REFUSE_BAD, app};

/// Stores twelve records of which the table refuses those at the given places.
fn refused_at(places: &[usize]) {
    let app = app();
    app.pool.get().unwrap().batch_execute(REFUSE_BAD).unwrap();
    let all: Vec<_> = (0..12)
        .map(|n| match places.contains(&n) {
            true => payload(&format!("bad.{n}")),
            false => payload(&format!("n.{n}")),
        })
        .collect();
    let queue = MemoryQueue::new();
    let consumer = consumer(&app, queue.clone());
    // Twice: a refused record is in quarantine once, too.
    for _ in 0..2 {
        queue.push(&all).unwrap();
        consumer.flush().unwrap();
    }
    let mut good = names(12);
    good.retain(|name| !places.contains(&name[2..].parse().unwrap()));
    assert_eq!(stored(&app), good);
    let mut held: Vec<_> = quarantined(&app)
        .into_iter()
        .map(|row| row.payload)
        .collect();
    let mut bad: Vec<_> = places.iter().map(|n| all[*n].as_bytes().to_vec()).collect();
    held.sort();
    bad.sort();
    assert_eq!(held, bad);
    for row in quarantined(&app) {
        assert_eq!(row.reason, "the trigger refuses it");
    }
    let stats = consumer.stats();
    let (refused, stored) = (places.len() as u64, 12 - places.len() as u64);
    assert_eq!((stats.quarantined, stats.stored), (refused, stored));
    assert_eq!((stats.duplicates, stats.outages), (12, 0));
}

#[test]
fn the_first_of_a_batch_is_refused() {
    refused_at(&[0]);
}

#[test]
fn the_middle_of_a_batch_is_refused() {
    refused_at(&[6]);
}

#[test]
fn the_last_of_a_batch_is_refused() {
    refused_at(&[11]);
}

#[test]
fn several_of_a_batch_are_refused() {
    refused_at(&[0, 1, 5, 8, 11]);
}

#[test]
fn all_of_a_batch_are_refused() {
    refused_at(&(0..12).collect::<Vec<_>>());
}

#[test]
fn undecodable_payloads_are_quarantined_with_the_reason_and_the_rest_flow_on() {
    let newer = br#"{"v":2,"id":"whatever","new":"form"}"#;
    let cases: [(&[u8], &str); 11] = [
        (b"", "not an audit record"),
        (b"hello", "not an audit record"),
        (b"\xff\xfe", "not an audit record"),
        (b"{", "not an audit record"),
        (b"[1,2]", "not an audit record"),
        (b"{\"v\":1}", "missing field `id`"),
        (b"{\"v\":\"one\"}", "not an audit record"),
        (b"null", "not an audit record"),
        (newer, "upgrade the consumer"),
        // The decoder's words quote the character that PostgreSQL's text cannot hold.
        (
            br#"{"v":1,"id":"018f0000-0000-7000-8000-000000000000","occurred_at":1,"action":"a","outcome":"x\u0000y"}"#,
            "unknown variant",
        ),
        (
            br#"{"v":1,"id":"018f0000-0000-7000-8000-000000000000","occurred_at":9223372036854775807,"action":"a"}"#,
            "occurred_at",
        ),
    ];
    let app = app();
    let queue = MemoryQueue::new();
    let consumer = consumer(&app, queue.clone());
    for (number, (bytes, _)) in cases.iter().enumerate() {
        queue.push(&[Payload::from(bytes.to_vec())]).unwrap();
        queue.push(&[payload(&format!("n.{number}"))]).unwrap();
    }
    consumer.flush().unwrap();
    assert_eq!(stored(&app), names(cases.len()));
    let held = quarantined(&app);
    assert_eq!(held.len(), cases.len());
    for (bytes, words) in cases {
        let row = held.iter().find(|row| row.payload == bytes).unwrap();
        assert!(row.reason.contains(words), "{}", row.reason);
        assert!(!row.reason.contains('\0') && row.reason.len() <= 4_000);
    }
    assert!(queue.is_empty().unwrap());
}

#[test]
fn a_table_that_refuses_everything_convicts_no_record() {
    let dropped = ("ALTER TABLE audit_logs DROP COLUMN digest", ADD_DIGEST);
    for before in [0, 5] {
        for (close, open) in [&REFUSE_ALL[..], &[dropped]].concat() {
            let app = app();
            let sql = |sql: &str| app.pool.get().unwrap().batch_execute(sql).unwrap();
            let queue = MemoryQueue::new();
            let consumer = consumer(&app, queue.clone());
            queue.push(&payloads(before)).unwrap();
            consumer.flush().unwrap();
            sql(close);
            queue.push(&payloads(40)).unwrap();
            fails(&consumer, "refuses every row");
            assert_eq!(queue.len().unwrap(), 40);
            sql(open);
            consumer.flush().unwrap();
            assert_eq!(stored(&app), [names(before), names(40)].concat());
            assert!(quarantined(&app).is_empty());
        }
    }
}

#[test]
fn a_quarantine_that_refuses_everything_loses_nothing() {
    for (close, open) in REFUSE_ALL {
        let app = app();
        let sql = |sql: &str| {
            let sql = sql.replace("audit_logs", "audit_quarantine");
            app.pool.get().unwrap().batch_execute(&sql).unwrap();
        };
        sql(close);
        let queue = MemoryQueue::new();
        queue.push(&[Payload::from(b"?".to_vec())]).unwrap();
        queue.push(&payloads(20)).unwrap();
        let consumer = consumer(&app, queue.clone());
        fails(&consumer, "`audit_quarantine` refuses every row");
        assert_eq!(queue.len().unwrap(), 21);
        sql(open);
        consumer.flush().unwrap();
        assert_eq!(stored(&app), names(20));
        assert_eq!(quarantined(&app).len(), 1);
    }
}

/// Only its own id makes a record a duplicate.
#[test]
fn a_unique_index_of_somebodys_takes_no_record_away() {
    let app = app();
    let sql = |sql: &str| app.pool.get().unwrap().batch_execute(sql).unwrap();
    sql("CREATE UNIQUE INDEX theirs ON audit_logs (action)");
    let queue = MemoryQueue::new();
    let consumer = consumer(&app, queue.clone());
    let all: Vec<_> = (0..20).map(|n| payload(&format!("n.{}", n % 4))).collect();
    for _ in 0..2 {
        queue.push(&all).unwrap();
        consumer.flush().unwrap();
    }
    assert_eq!(stored(&app), names(4));
    let held = quarantined(&app);
    assert_eq!(held.len(), 16);
    for row in held {
        let reason = row.reason.to_lowercase();
        assert!(reason.contains("unique"), "{reason}");
    }
    let stats = consumer.stats();
    assert_eq!(
        (stats.stored, stats.quarantined, stats.duplicates),
        (4, 16, 20)
    );
}

#[test]
fn a_unique_index_on_the_quarantine_takes_no_record_away() {
    let app = app();
    let sql = |sql: &str| app.pool.get().unwrap().batch_execute(sql).unwrap();
    sql("CREATE UNIQUE INDEX theirs ON audit_quarantine (reason)");
    let queue = MemoryQueue::new();
    let unreadable = [b"?".to_vec(), b"!".to_vec()].map(Payload::from);
    queue.push(&unreadable).unwrap();
    let consumer = consumer(&app, queue.clone());
    // Batches become smaller meanwhile, and one of the two may go in.
    audit_tests::wait_until("what is wrong", audit_tests::LONG, || {
        let _ = consumer.flush_within(std::time::Duration::from_millis(10));
        let said = consumer.stats().last_error.unwrap_or_default();
        said.contains("`audit_quarantine` refuses every row")
    });
    assert!(!queue.is_empty().unwrap());
    sql("DROP INDEX theirs");
    consumer.flush().unwrap();
    assert_eq!(quarantined(&app).len(), 2);
}

/// A table of which each row has to be one of a list: what is not on it is refused, and the rest
/// flow on, although no row that is made up is on it.
#[test]
fn a_table_that_takes_certain_kinds_only_refuses_the_others() {
    let app = app();
    let conn = &mut app.pool.get().unwrap();
    let queue = MemoryQueue::new();
    let consumer = consumer(&app, queue.clone());
    queue.push(&payloads(2)).unwrap();
    consumer.flush().unwrap();
    conn.batch_execute(&REFUSE_BAD.replace("LIKE 'bad%'", "NOT LIKE 'n.%'"))
        .unwrap();
    let odd: Vec<_> = (0..10).map(|n| payload(&format!("odd.{n}"))).collect();
    queue.push(&odd).unwrap();
    consumer.flush().unwrap();
    queue.push(&payloads(2)).unwrap();
    consumer.flush().unwrap();
    assert_eq!(stored(&app).len(), 4);
    assert_eq!(quarantined(&app).len(), 10);
}

/// Whatever speaks against a record when it comes again, it is stored.
#[test]
fn a_record_that_is_stored_is_never_quarantined_as_well() {
    let [old, new] = ["old", "new"]
        .map(|id| SigningKey::new(id, format!("a long enough secret: {id}")).unwrap());
    for in_a_batch in [false, true] {
        let app = app();
        let queue = MemoryQueue::new();
        let genuine = payload("bad");
        queue.push(&[old.sign(&genuine)]).unwrap();
        consumer(&app, queue.clone()).flush().unwrap();
        let sql = |sql: &str| app.pool.get().unwrap().batch_execute(sql).unwrap();
        sql(REFUSE_BAD);
        let lost = Unsettled {
            xid: 1,
            origin: Some("another server".to_owned()),
        };
        let others = if in_a_batch { payloads(5) } else { Vec::new() };
        let again = [&[genuine.clone(), genuine.unsettled(&lost)], &others[..]].concat();
        queue.push(&again).unwrap();
        let consumer = builder(&app, queue.clone()).spawn().unwrap();
        consumer.flush().unwrap();
        drop(consumer);
        // Its key is not accepted any more.
        queue.push(&[old.sign(&genuine)]).unwrap();
        let consumer = builder(&app, queue)
            .verify_with([new.clone()])
            .spawn()
            .unwrap();
        consumer.flush().unwrap();
        assert_eq!(consumer.stats().duplicates, 1);
        assert!(quarantined(&app).is_empty(), "{:?}", quarantined(&app));
        assert_eq!(stored(&app).len(), 1 + others.len());
    }
}
