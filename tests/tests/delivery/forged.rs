//! Who can write to the Redis list takes no record's place.

use audit_diesel::{Auditor, Consumer, Delivery, Payload, QuarantinedRecord, Queue, Record};
use audit_diesel::{RedisQueue, SigningKey, Unsettled, audited};
use audit_tests::app::accounts;
use audit_tests::app::postgres::trail::audit_quarantine;
use audit_tests::wait_until;
use diesel::PgConnection;
use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use diesel::r2d2::{ConnectionManager, Pool};

use super::support::*;

fn key(id: &str) -> SigningKey {
    SigningKey::new(id, format!("a long enough secret: {id}")).unwrap()
}

fn verifying(setup: &Setup) -> Consumer {
    let builder = Consumer::builder(std::sync::Arc::new(setup.list()), setup.app.pool.clone());
    let builder = builder.verify_with([key("k1"), key("k2")]);
    builder
        .interval(std::time::Duration::from_millis(20))
        .spawn()
        .unwrap()
}

fn quarantined(setup: &Setup) -> Vec<QuarantinedRecord> {
    let rows = audit_quarantine::table.select(QuarantinedRecord::as_select());
    rows.load(&mut setup.app.pool.get().unwrap()).unwrap()
}

/// Puts another record of the same id in the place of the first one that waits.
fn forge(setup: &Setup) -> Payload {
    replace(setup, |waiting| {
        let mut record = Record::decode(waiting.as_bytes()).unwrap();
        record.action = "forged".to_owned();
        record.encode().unwrap()
    })
}

/// Puts something else in the place of the first one that waits.
fn replace(setup: &Setup, by: impl FnOnce(Payload) -> Payload) -> Payload {
    let forged = by(setup.list().peek(1).unwrap().payloads.remove(0));
    redis::cmd("LSET")
        .arg("audit:queue")
        .arg(0)
        .arg(forged.as_bytes())
        .exec(&mut setup.server.connection())
        .unwrap();
    forged
}

#[test]
fn a_forgery_is_not_confirmed_as_the_record_whose_id_it_has() {
    let setup = Setup::new(&[]);
    let auditor = setup.confirmed().build().unwrap();
    record(&auditor, 0..1);
    auditor.queue().settle(LONG).unwrap();
    let genuine = setup.list().peek(1).unwrap().payloads.remove(0);
    forge(&setup);
    let _consumer = setup.consumer();
    setup.wait_for_an_empty_journal();
    assert_eq!(setup.stored(), ["forged"]);
    let held = quarantined(&setup);
    assert_eq!(held.len(), 1, "{held:?}");
    assert_eq!(held[0].payload, genuine.as_bytes());
    assert!(held[0].reason.contains("says something else"), "{held:?}");
    assert_eq!(auditor.stats().sent_again, 1);
}

#[test]
fn with_signatures_a_forgery_is_quarantined_and_the_record_is_stored() {
    let setup = Setup::new(&[]);
    let auditor = setup.confirmed().sign_with(key("k1")).build().unwrap();
    record(&auditor, 0..1);
    auditor.queue().settle(LONG).unwrap();
    let forged = forge(&setup);
    let _consumer = verifying(&setup);
    setup.wait_for(1);
    setup.wait_for_an_empty_journal();
    let held = quarantined(&setup);
    assert_eq!(held.len(), 1, "{held:?}");
    assert_eq!(held[0].payload, forged.as_bytes());
    assert!(held[0].reason.contains("not signed"), "{held:?}");
}

#[test]
fn a_signed_record_that_is_made_smaller_for_redis_is_signed_again() {
    let setup = Setup::new(&[]);
    let small = RedisQueue::builder(setup.server.url())
        .owner(OWNER)
        .max_record_bytes(1_500);
    let auditor = Auditor::builder()
        .redis_queue(small.build().unwrap())
        .journal(setup.path())
        .confirm_in(setup.app.pool.clone())
        .confirm_after(GRACE)
        .sign_with(key("k2"))
        .build()
        .unwrap();
    let event = audit_diesel::AuditEvent::new("n.0").with("text", "x".repeat(5_000));
    auditor.record(event).unwrap();
    let _consumer = verifying(&setup);
    setup.wait_for(1);
    setup.wait_for_an_empty_journal();
    assert!(quarantined(&setup).is_empty());
}

#[test]
fn records_of_each_mode_are_signed() {
    for delivery in [Delivery::AfterCommit, Delivery::Prepared] {
        let setup = Setup::new(&[]);
        let auditor = setup
            .confirmed()
            .sign_with(key("k1"))
            .delivery(delivery)
            .build()
            .unwrap();
        let manager = ConnectionManager::<PgConnection>::new(setup.app.guard.url());
        let pool = Pool::builder()
            .max_size(1)
            .connection_customizer(auditor.customizer());
        let conn = &mut pool.build(manager).unwrap().get().unwrap();
        audited::insert_into(accounts::table)
            .values(accounts::email.eq("ada@example.com"))
            .execute(conn)
            .unwrap();
        let changed = conn.transaction(|conn| {
            audited::update(accounts::table)
                .set(accounts::role.eq("admin"))
                .execute(conn)
        });
        assert_eq!(changed, Ok(1));
        let consumer = verifying(&setup);
        setup.wait_for_an_empty_journal();
        assert_eq!(setup.stored(), ["insert", "update"]);
        assert_eq!(consumer.stats().quarantined, 0);
    }
}

/// Who says that a record is of a transaction that was rolled back has it dropped; the journal delivers it
/// again.
#[test]
fn a_record_that_somebody_marks_as_rolled_back_is_delivered_again() {
    for is_signed in [false, true] {
        let setup = Setup::new(&[]);
        let builder = setup.confirmed();
        let auditor = match is_signed {
            true => builder.sign_with(key("k1")),
            false => builder,
        };
        let auditor = auditor.build().unwrap();
        record(&auditor, 0..1);
        auditor.queue().settle(LONG).unwrap();
        let xid = setup
            .app
            .guard
            .connection()
            .test_transaction::<_, diesel::result::Error, _>(|conn| {
                let xid = diesel::dsl::sql::<diesel::sql_types::BigInt>("txid_current()");
                diesel::select(xid).get_result(conn)
            });
        let origin = None;
        let marked = replace(&setup, |it| it.unsettled(&Unsettled { xid, origin }));
        let _consumer = match is_signed {
            true => verifying(&setup),
            false => setup.consumer(),
        };
        setup.wait_for(1);
        setup.wait_for_an_empty_journal();
        assert_eq!(auditor.stats().sent_again, 1);
        let held = quarantined(&setup);
        let held: Vec<_> = held.iter().map(|row| &*row.payload).collect();
        let expected = [marked.as_bytes()];
        assert_eq!(held, &expected[..usize::from(is_signed)]);
    }
}

/// Who can write the journal's file, and does not have the key, makes nothing up.
#[test]
fn a_record_that_somebody_changes_in_the_journal_is_quarantined_if_it_was_signed() {
    for is_signed in [false, true] {
        let mut setup = Setup::new(&[]);
        let journal = setup.journal();
        let builder = Auditor::builder().redis_queue(setup.list());
        let builder = builder.journal_queue(journal.clone());
        let auditor = match is_signed {
            true => builder.sign_with(key("k1")),
            false => builder,
        };
        let auditor = auditor.build().unwrap();
        setup.server.stop();
        record(&auditor, 0..3);
        // That they are in the tables, and not beside them.
        assert_eq!(journal.len(), Ok(3));
        let path = setup.path();
        SqliteConnection::establish(path.to_str().unwrap())
            .unwrap()
            .batch_execute(
                "PRAGMA busy_timeout = 60000;
                 UPDATE audit_journal
                 SET payload = CAST(replace(CAST(payload AS TEXT), 'n.1', 'n.9') AS BLOB)",
            )
            .unwrap();
        setup.server.restart();
        let (_consumer, expected) = match is_signed {
            true => (verifying(&setup), &["n.0", "n.2"][..]),
            false => (setup.consumer(), &["n.0", "n.9", "n.2"][..]),
        };
        wait_until("all records", LONG, || {
            setup.stored().len() + quarantined(&setup).len() == 3
        });
        assert_eq!(setup.stored(), expected);
        for row in quarantined(&setup) {
            assert!(row.reason.contains("signature is wrong"), "{}", row.reason);
        }
    }
}
