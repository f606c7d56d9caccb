//! The journal keeps a record until the database has it.

use std::collections::HashSet;
use std::time::Duration;

use audit_diesel::{AuditContext, Auditor, Payload, Queue, Record, Unsettled};
use audit_tests::wait_until;
use diesel::prelude::*;
use diesel::sql_types::Text;

use super::support::*;

#[test]
fn what_is_stored_leaves_the_journal_and_is_not_sent_twice() {
    let setup = Setup::new(&[]);
    let auditor = setup.confirmed().build().unwrap();
    let consumer = setup.consumer();
    for round in 0..5 {
        record(&auditor, round * 100..round * 100 + 100);
        setup.wait_for(round * 100 + 100);
    }
    setup.wait_for_an_empty_journal();
    assert_eq!(auditor.stats().sent_again, 0);
    assert_eq!(consumer.stats().duplicates, 0);
}

#[test]
fn the_journal_keeps_what_waits_in_redis_and_does_not_send_it_twice() {
    let setup = Setup::new(&[]);
    let auditor = setup.confirmed().build().unwrap();
    record(&auditor, 0..50);
    auditor.queue().settle(LONG).unwrap();
    assert_eq!(setup.list().len(), Ok(50));
    // Whoever confirms reads the list once a record has had its time; nobody else reads it here.
    let before = setup.looks();
    wait_until("looks at the list", LONG, || setup.looks() >= before + 3);
    assert_eq!(setup.list().len(), Ok(50));
    assert_eq!(setup.journal().len(), Ok(50));
    let _consumer = setup.consumer();
    setup.wait_for(50);
    setup.wait_for_an_empty_journal();
    assert_eq!(auditor.stats().sent_again, 0);
}

/// Records as of a database whose clock is wrong by so many seconds.
fn skewed(numbers: std::ops::Range<usize>, seconds: i64) -> Vec<Payload> {
    let record = |n: usize| {
        let mut record = Record::new(format!("n.{n}"), AuditContext::default());
        record.occurred_at += seconds * 1_000_000;
        record.encode().unwrap()
    };
    numbers.map(record).collect()
}

#[test]
fn what_waits_in_redis_is_sent_once_whatever_the_databases_clock_says() {
    for seconds in [3_600, -3_600, 0] {
        let setup = Setup::new(&[]);
        let auditor = setup.confirmed().build().unwrap();
        auditor.queue().push(&skewed(0..1_000, seconds)).unwrap();
        auditor.queue().settle(LONG).unwrap();
        let before = setup.looks();
        wait_until("looks at the list", LONG, || setup.looks() >= before + 5);
        assert_eq!(setup.list().len(), Ok(1_000), "{seconds} s");
        assert_eq!(auditor.stats().sent_again, 0, "{seconds} s");
        // Lost once, sent again once.
        setup.redis("FLUSHALL");
        wait_until("all to be sent again", LONG, || {
            setup.list().len() == Ok(1_000)
        });
        let before = setup.looks();
        wait_until("looks at the list", LONG, || setup.looks() >= before + 5);
        assert_eq!(setup.list().len(), Ok(1_000), "{seconds} s");
        assert_eq!(auditor.stats().sent_again, 1_000, "{seconds} s");
        let _consumer = setup.consumer();
        setup.wait_for(1_000);
        setup.wait_for_an_empty_journal();
    }
}

#[test]
fn what_is_stored_leaves_the_journal_though_redis_is_never_empty_and_the_clock_is_wrong() {
    for seconds in [3_600, -3_600] {
        let setup = Setup::new(&[]);
        let auditor = setup.confirmed().build().unwrap();
        auditor.queue().push(&skewed(0..50, seconds)).unwrap();
        auditor.queue().settle(LONG).unwrap();
        // Of another application server, with a journal of its own.
        let list = setup.list();
        list.push(&skewed(50..51, seconds)).unwrap();
        setup.store_some(50);
        assert!(!list.is_empty().unwrap());
        setup.wait_for_an_empty_journal();
        assert_eq!(auditor.stats().sent_again, 0);
    }
}

#[test]
fn what_is_lost_is_sent_again_though_redis_is_never_seen_empty() {
    let setup = Setup::new(&[]);
    let auditor = setup.confirmed().build().unwrap();
    auditor.queue().push(&skewed(0..50, 3_600)).unwrap();
    auditor.queue().settle(LONG).unwrap();
    // Somebody takes them away, and what stays is not ours.
    setup.list().push(&skewed(50..51, -3_600)).unwrap();
    setup.redis("LTRIM audit:queue 50 -1");
    wait_until("all to be sent again", LONG, || {
        setup.list().len() == Ok(51)
    });
    assert_eq!(auditor.stats().sent_again, 50);
}

#[test]
fn a_redis_without_lpos_confirms_once_it_is_empty() {
    let setup = Setup::new(&["--rename-command", "LPOS", ""]);
    let auditor = setup.confirmed().build().unwrap();
    record(&auditor, 0..50);
    auditor.queue().settle(LONG).unwrap();
    let _consumer = setup.consumer();
    setup.wait_for(50);
    setup.wait_for_an_empty_journal();
    assert_eq!(auditor.stats().sent_again, 0);
}

#[test]
fn a_wiped_redis_loses_nothing() {
    let setup = Setup::new(&[]);
    let auditor = setup.confirmed().build().unwrap();
    let mut count = 0;
    for round in 1..=4 {
        record(&auditor, count..count + 700);
        auditor.queue().settle(LONG).unwrap();
        setup.redis("FLUSHALL");
        record(&auditor, count + 700..count + 710);
        count += 710;
        let consumer = setup.consumer();
        setup.wait_for(count);
        wait_until("all to be counted", LONG, || {
            auditor.stats().sent_again == round * 700
        });
        consumer.stop().unwrap();
    }
    setup.wait_for_an_empty_journal();
}

#[test]
fn wipes_under_load_lose_nothing() {
    let setup = Setup::new(&[]);
    let auditor = setup.confirmed().build().unwrap();
    let _consumer = setup.consumer();
    std::thread::scope(|scope| {
        scope.spawn(|| record(&auditor, 0..4_000));
        for _ in 0..16 {
            std::thread::sleep(Duration::from_millis(50));
            setup.redis("FLUSHALL");
        }
    });
    setup.wait_for(4_000);
    setup.wait_for_an_empty_journal();
}

#[test]
fn a_redis_that_comes_back_empty_loses_nothing() {
    let mut setup = Setup::new(&[]);
    let auditor = setup.confirmed().build().unwrap();
    record(&auditor, 0..100);
    auditor.queue().settle(LONG).unwrap();
    setup.server.kill9();
    record(&auditor, 100..200);
    setup.server.restart();
    let _consumer = setup.consumer();
    setup.wait_for(200);
    setup.wait_for_an_empty_journal();
    assert!(auditor.stats().sent_again >= 100);
}

/// As after a failover to a replica that lagged behind: what was acknowledged is there again, and
/// what came last is gone.
#[test]
fn a_redis_that_comes_back_with_old_data_loses_nothing() {
    let mut setup = Setup::new(&[]);
    let auditor = setup.confirmed().build().unwrap();
    record(&auditor, 0..100);
    auditor.queue().settle(LONG).unwrap();
    setup.redis("SAVE");
    let consumer = setup.consumer();
    setup.wait_for(100);
    consumer.stop().unwrap();
    record(&auditor, 100..200);
    auditor.queue().settle(LONG).unwrap();
    setup.server.kill9();
    setup.server.restart();
    assert_eq!(setup.list().len(), Ok(100));
    let consumer = setup.consumer();
    setup.wait_for(200);
    setup.wait_for_an_empty_journal();
    wait_until("the old data to be counted", LONG, || {
        consumer.stats().duplicates == 100
    });
}

#[test]
fn what_the_last_process_carried_is_confirmed_by_the_next() {
    let setup = Setup::new(&[]);
    let auditor = setup.confirmed().build().unwrap();
    record(&auditor, 0..100);
    auditor.queue().settle(LONG).unwrap();
    drop(auditor);
    setup.redis("FLUSHALL");
    let auditor = setup.confirmed().build().unwrap();
    let _consumer = setup.consumer();
    setup.wait_for(100);
    setup.wait_for_an_empty_journal();
    assert_eq!(auditor.stats().sent_again, 100);
}

#[test]
fn quarantined_and_shrunk_and_cut_records_leave_the_journal() {
    let setup = Setup::new(&[]);
    let small = audit_diesel::RedisQueue::builder(setup.server.url())
        .owner(OWNER)
        .max_record_bytes(1_000);
    let auditor = audit_diesel::Auditor::builder()
        .redis_queue(small.build().unwrap())
        .journal_queue(setup.journal())
        .confirm_in(setup.app.pool.clone())
        .confirm_after(GRACE)
        .build()
        .unwrap();
    let mut large = Record::new("n.0", AuditContext::default());
    large
        .extra
        .insert("text".to_owned(), "x".repeat(5_000).into());
    let payloads = [
        large.encode().unwrap(),
        Payload::from(b"no record".to_vec()),
        Payload::from(vec![b'?'; 5_000]),
    ];
    auditor.queue().push(&payloads).unwrap();
    let _consumer = setup.consumer();
    setup.wait_for_an_empty_journal();
    assert_eq!(setup.stored(), names(1));
    let held: i64 = audit_diesel::postgres::audit_quarantine::table
        .count()
        .get_result(&mut setup.app.pool.get().unwrap())
        .unwrap();
    assert_eq!(held, 2);
    assert_eq!(auditor.stats().sent_again, 0);
}

fn unsettled(xid: i64, action: &str) -> Payload {
    let record = Record::new(action, AuditContext::default());
    record
        .encode()
        .unwrap()
        .unsettled(&Unsettled { xid, origin: None })
}

fn xid(conn: &mut PgConnection) -> i64 {
    diesel::select(diesel::dsl::sql::<diesel::sql_types::BigInt>(
        "txid_current()",
    ))
    .get_result(conn)
    .unwrap()
}

/// The name under which the database is asked what became of records.
const CONFIRMER: &str = "confirmer";

/// As `setup.confirmed()`, with connections for that alone.
fn confirmed_apart(setup: &Setup) -> Auditor {
    let url = format!("{}?application_name={CONFIRMER}", setup.app.guard.url());
    let builder = setup.confirmed().confirm_in(audit_tests::pg_pool(&url));
    builder.build().unwrap()
}

/// Waits until the database was asked so often what became of records, and checks meanwhile. How
/// such a transaction ended can be seen until the next one begins, the question itself but for a
/// moment.
fn looks(setup: &Setup, count: usize, check: impl Fn()) {
    let conn = &mut setup.app.guard.connection();
    let asked = format!(
        "SELECT query_start::text AS at FROM pg_stat_activity \
         WHERE application_name = '{CONFIRMER}' AND query IN ('COMMIT', 'ROLLBACK') \
         AND query_start > '{}'",
        now(conn)
    );
    let mut seen = HashSet::new();
    wait_until("questions to the database", LONG, || {
        check();
        let asked: Vec<At> = diesel::sql_query(&asked).load(conn).unwrap();
        seen.extend(asked.into_iter().map(|at| at.at));
        seen.len() >= count
    });
}

#[derive(QueryableByName)]
struct At {
    #[diesel(sql_type = Text)]
    at: String,
}

fn now(conn: &mut PgConnection) -> String {
    let now = diesel::sql_query("SELECT clock_timestamp()::text AS at");
    now.get_result::<At>(conn).unwrap().at
}

#[test]
fn a_rolled_back_transaction_leaves_the_journal_and_one_that_runs_stays() {
    use diesel::connection::SimpleConnection;
    let setup = Setup::new(&[]);
    let auditor = confirmed_apart(&setup);
    let conn = &mut setup.app.guard.connection();
    conn.batch_execute("BEGIN").unwrap();
    let aborted = xid(conn);
    conn.batch_execute("ROLLBACK; BEGIN").unwrap();
    let running = xid(conn);
    let payloads = [unsettled(aborted, "aborted"), unsettled(running, "n.0")];
    auditor.queue().push(&payloads).unwrap();
    let consumer = setup.consumer();
    wait_until("the rolled back one to be dropped", LONG, || {
        consumer.stats().rolled_back >= 1 && setup.journal().len().unwrap() == 1
    });
    // A copy more in Redis for each time that it is looked at would fill it.
    looks(&setup, 20, || {
        assert!(setup.list().len().unwrap() < 10);
    });
    conn.batch_execute("COMMIT").unwrap();
    setup.wait_for(1);
    setup.wait_for_an_empty_journal();
}

#[test]
fn a_transaction_of_another_server_ends_in_quarantine() {
    use diesel::connection::SimpleConnection;
    let setup = Setup::new(&[]);
    let auditor = confirmed_apart(&setup);
    let conn = &mut setup.app.guard.connection();
    conn.batch_execute("BEGIN").unwrap();
    let elsewhere = Unsettled {
        xid: xid(conn),
        origin: Some("1/00000001 0".to_owned()),
    };
    conn.batch_execute("ROLLBACK").unwrap();
    let record = Record::new("n.0", AuditContext::default());
    let payload = record.encode().unwrap().unsettled(&elsewhere);
    auditor.queue().push(&[payload]).unwrap();
    let consumer = setup.consumer();
    setup.wait_for_an_empty_journal();
    let stats = consumer.stats();
    assert_eq!((stats.rolled_back, stats.quarantined), (0, 1));
}

#[test]
fn a_database_that_is_away_keeps_the_journal_as_it_is() {
    use diesel::connection::SimpleConnection;
    let setup = Setup::new(&[]);
    let auditor = confirmed_apart(&setup);
    let sql = |sql: &str| setup.app.pool.get().unwrap().batch_execute(sql).unwrap();
    let consumer = setup.consumer();
    sql("ALTER TABLE audit_logs RENAME TO away");
    record(&auditor, 0..100);
    wait_until("the consumer to fail", LONG, || {
        consumer.stats().outages > 1
    });
    setup.redis("FLUSHALL");
    looks(&setup, 3, || assert_eq!(setup.journal().len(), Ok(100)));
    sql("ALTER TABLE away RENAME TO audit_logs");
    setup.wait_for(100);
    setup.wait_for_an_empty_journal();
}
