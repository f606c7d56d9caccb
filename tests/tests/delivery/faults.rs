//! A consumer whose Redis or PostgreSQL misbehaves: it goes on by itself, and can be stopped.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use audit_diesel::{Consumer, Payload, Queue, RedisQueue};
use audit_tests::{Call, Hooked, wait_until};
use diesel::connection::SimpleConnection;

use super::support::*;

/// Stops the consumer, which may fail in time and must not take longer.
fn stops_in_time(consumer: &Consumer) {
    let started = Instant::now();
    let _ = consumer.stop();
    let took = started.elapsed();
    assert!(took < LONG / 2, "{took:?}");
}

/// Waits until the consumer says these words about its latest try.
fn complains(consumer: &Consumer, words: &str) {
    wait_until(words, LONG, || {
        let _ = consumer.flush_within(Duration::from_millis(1));
        let error = consumer.stats().last_error;
        error.is_some_and(|error| error.contains(words))
    });
    assert_eq!(consumer.stats().quarantined, 0);
}

/// A fault that begins and ends by commands to Redis: records are made before it and during it,
/// and all arrive without anybody's help; a consumer can be stopped meanwhile.
fn survives(setup: &Setup, begin: &[&str], words: &str, end: &[&str]) {
    let auditor = setup.confirmed().build().unwrap();
    record(&auditor, 0..100);
    auditor.queue().settle(LONG).unwrap();
    begin.iter().for_each(|command| setup.redis(command));
    let consumers = [(); 2].map(|()| setup.consumer());
    record(&auditor, 100..200);
    recovers(setup, &consumers, words, end);
}

fn recovers(setup: &Setup, consumers: &[Consumer; 2], words: &str, end: &[&str]) {
    complains(&consumers[0], words);
    stops_in_time(&consumers[0]);
    end.iter().for_each(|command| setup.redis(command));
    setup.wait_for(200);
    setup.wait_for_an_empty_journal();
    assert!(consumers[1].stats().running);
}

#[test]
fn redis_is_a_read_only_replica() {
    let setup = Setup::new(&[]);
    let master = "REPLICAOF 127.0.0.1 1";
    survives(
        &setup,
        &[master],
        "read-only replica",
        &["REPLICAOF NO ONE"],
    );
}

#[test]
fn redis_cannot_save() {
    let folder = tempfile::tempdir().unwrap();
    let gone = folder.path().join("gone");
    std::fs::create_dir(&gone).unwrap();
    let setup = Setup::new(&["--save", "3600 100000", "--enable-protected-configs", "yes"]);
    setup.redis(&format!("CONFIG SET dir {}", gone.display()));
    std::fs::remove_dir(&gone).unwrap();
    let info = || -> String {
        let conn = &mut setup.server.connection();
        redis::cmd("INFO").arg("persistence").query(conn).unwrap()
    };
    let fail = || {
        setup.redis("BGSAVE");
        wait_until("a failed save", LONG, || {
            info().contains("rdb_last_bgsave_status:err")
        });
    };
    fail();
    setup.redis("CONFIG SET stop-writes-on-bgsave-error no");
    let begin = ["CONFIG SET stop-writes-on-bgsave-error yes"];
    let end = ["CONFIG SET stop-writes-on-bgsave-error no"];
    survives(&setup, &begin, "MISCONF", &end);
}

#[test]
fn redis_holds_something_else() {
    let setup = Setup::new(&[]);
    let auditor = setup.confirmed().build().unwrap();
    // A consumer does not start on such a key.
    let consumers = [(); 2].map(|()| setup.consumer());
    record(&auditor, 0..100);
    setup.wait_for(100);
    wait_until("an empty list", LONG, || setup.list().is_empty().unwrap());
    setup.redis("SET audit:queue x");
    record(&auditor, 100..200);
    recovers(&setup, &consumers, "no list", &["DEL audit:queue"]);
}

/// A full Redis takes nothing, and is drained by the consumer all the same.
#[test]
fn redis_is_full() {
    let setup = Setup::new(&[]);
    let auditor = setup.confirmed().build().unwrap();
    record(&auditor, 0..300);
    auditor.queue().settle(LONG).unwrap();
    setup.redis("CONFIG SET maxmemory 1");
    record(&auditor, 300..400);
    wait_until("a refusal", LONG, || {
        let refused = auditor.queue().settle(Duration::from_millis(100));
        refused.is_err_and(|error| error.to_string().contains("maxmemory"))
    });
    let consumer = setup.consumer();
    setup.wait_for(300);
    assert_eq!(consumer.stats().outages, 0);
    setup.redis("CONFIG SET maxmemory 0");
    setup.wait_for(400);
    setup.wait_for_an_empty_journal();
}

#[test]
fn redis_is_silent_for_a_while() {
    let setup = Setup::impatient(&[]);
    let auditor = setup.confirmed().build().unwrap();
    record(&auditor, 0..100);
    auditor.queue().settle(LONG).unwrap();
    let consumers = [(); 2].map(|()| setup.consumer());
    for round in 1..=3 {
        setup.server.suspend();
        record(&auditor, round * 100..round * 100 + 100);
        complains(&consumers[0], "no answer within");
        if round == 3 {
            stops_in_time(&consumers[0]);
            let started = Instant::now();
            drop(auditor);
            assert!(started.elapsed() < LONG / 2);
            setup.server.resume();
            break;
        }
        setup.server.resume();
        setup.wait_for(round * 100 + 100);
    }
    // What the dropped auditor left, the next one carries on.
    let _auditor = setup.confirmed().build().unwrap();
    setup.wait_for(400);
    setup.wait_for_an_empty_journal();
}

/// Every answer comes late, some of them too late.
#[test]
fn redis_is_slow() {
    let setup = Setup::impatient(&[]);
    let auditor = setup.confirmed().build().unwrap();
    let consumer = setup.consumer();
    for round in 0..20 {
        let pause = [50, 250, 400][round % 3];
        setup.redis(&format!("CLIENT PAUSE {pause} ALL"));
        record(&auditor, round * 50..round * 50 + 50);
    }
    setup.wait_for(1_000);
    setup.wait_for_an_empty_journal();
    assert!(consumer.stats().quarantined == 0);
}

#[test]
fn redis_is_loading_its_data() {
    // It stays so until the test has seen it.
    let slow = [
        "--key-load-delay",
        "100000",
        "--loading-process-events-interval-bytes",
        "1024",
    ];
    let mut setup = Setup::new(&slow);
    let auditor = setup.confirmed().build().unwrap();
    record(&auditor, 0..100);
    auditor.queue().settle(LONG).unwrap();
    let filling = "x".repeat(2_000);
    let conn = &mut setup.server.connection();
    for n in 0..2_000 {
        let mut set = redis::cmd("SET");
        let set = set.arg(format!("filling:{n}")).arg(&filling);
        set.exec(conn).unwrap();
    }
    setup.redis("SAVE");
    let consumer = setup.consumer();
    setup.wait_for(100);
    setup.server.kill9();
    record(&auditor, 100..200);
    let url = setup.server.url();
    std::thread::scope(|scope| {
        let server = &mut setup.server;
        let restarted = scope.spawn(|| server.restart());
        complains(&consumer, "loading its data");
        let at_once = &mut redis::cmd("CONFIG");
        at_once.arg(&["SET", "key-load-delay", "0"]);
        let conn = redis::Client::open(url).unwrap().get_connection();
        at_once.exec(&mut conn.unwrap()).unwrap();
        restarted.join().unwrap();
    });
    setup.wait_for(200);
    setup.wait_for_an_empty_journal();
}

/// One consumer has stored a batch and falls asleep before it acknowledges; another one stores
/// the same, acknowledges and goes on; then the first one wakes.
#[test]
fn a_stale_consumer_removes_nothing() {
    let setup = Setup::new(&[]);
    let list = setup.list();
    let payloads = |numbers: std::ops::Range<usize>| -> Vec<Payload> {
        let new = |n| audit_diesel::Record::new(format!("n.{n}"), Default::default());
        numbers.map(|n| new(n).encode().unwrap()).collect()
    };
    let (asleep, wake) = (
        Arc::new(AtomicBool::new(false)),
        Arc::new(AtomicBool::new(false)),
    );
    let (sleeps, woken) = (asleep.clone(), wake.clone());
    let sleepy = Hooked::new(setup.list(), move |call| {
        if let Call::Ack(_) = call
            && !sleeps.swap(true, Ordering::SeqCst)
        {
            wait_until("somebody to wake it", LONG, || woken.load(Ordering::SeqCst));
        }
        Ok(())
    });
    list.push(&payloads(0..50)).unwrap();
    let spawn = |queue: Arc<dyn Queue>| {
        let builder = Consumer::builder(queue, setup.app.pool.clone());
        builder.interval(Duration::from_millis(10)).spawn().unwrap()
    };
    let stale = spawn(Arc::new(sleepy));
    wait_until("it to store", LONG, || asleep.load(Ordering::SeqCst));
    let fresh = spawn(Arc::new(setup.list()));
    wait_until("the batch to be acknowledged", LONG, || {
        list.is_empty().unwrap()
    });
    fresh.stop().unwrap();
    // As many as it is about to acknowledge, and nobody has stored them.
    list.push(&payloads(50..100)).unwrap();
    wake.store(true, Ordering::SeqCst);
    setup.wait_for(100);
    // What is stored is acknowledged and counted a moment later.
    wait_until("all to be counted", LONG, || {
        stale.stats().stored + fresh.stats().stored == 100
    });
    assert!(list.is_empty().unwrap());
}

/// PostgreSQL makes it wait: stopping does not.
#[test]
fn a_consumer_that_waits_for_a_lock_can_be_stopped() {
    let setup = Setup::new(&[]);
    let auditor = setup.confirmed().build().unwrap();
    let consumer = setup.consumer();
    let locker = &mut setup.app.guard.connection();
    locker
        .batch_execute("BEGIN; LOCK TABLE audit_logs")
        .unwrap();
    record(&auditor, 0..10);
    let waiting = "SELECT 1 / count(*) FROM pg_stat_activity
                   WHERE wait_event_type = 'Lock' AND datname = current_database()";
    let watch = &mut setup.app.guard.connection();
    wait_until("it to wait", LONG, || watch.batch_execute(waiting).is_ok());
    stops_in_time(&consumer);
    let started = Instant::now();
    drop(auditor);
    assert!(started.elapsed() < LONG / 2);
    locker.batch_execute("COMMIT").unwrap();
    let _auditor = setup.confirmed().build().unwrap();
    let _consumer = setup.consumer();
    setup.wait_for(10);
}

/// A server's words tell nothing where it speaks another language: what it does tells.
#[test]
fn outages_in_another_language_quarantine_nothing() {
    let setup = Setup::new(&[]);
    let list: RedisQueue = setup.list();
    let sql = |sql: &str| setup.app.pool.get().unwrap().batch_execute(sql).unwrap();
    sql("CREATE TABLE fault (code text);
         CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS $$
             DECLARE code text := (SELECT max(fault.code) FROM fault);
             BEGIN
                 IF code IS NOT NULL THEN
                     RAISE EXCEPTION 'auf Deutsch gesagt: es geht nicht' USING ERRCODE = code;
                 END IF;
                 RETURN NEW;
             END $$;
         CREATE TRIGGER fail BEFORE INSERT ON audit_logs FOR EACH ROW EXECUTE FUNCTION fail();");
    let consumer = setup.consumer();
    let codes = [
        "08006", "25006", "40001", "40P01", "42P01", "42501", "53100", "53200", "53300", "53400",
        "54000", "55P03", "55006", "57014", "57P01", "57P03", "58030", "XX000", "XX001",
    ];
    for (round, code) in codes.into_iter().enumerate() {
        sql(&format!("INSERT INTO fault VALUES ('{code}')"));
        let before = consumer.stats().outages;
        let record = |n| audit_diesel::Record::new(format!("n.{n}"), Default::default());
        let records = (round * 8..round * 8 + 8).map(|n| record(n).encode().unwrap());
        list.push(&records.collect::<Vec<_>>()).unwrap();
        wait_until(code, LONG, || {
            let _ = consumer.flush_within(Duration::from_millis(1));
            consumer.stats().outages > before
        });
        sql("DELETE FROM fault");
        consumer.flush().unwrap();
        setup.wait_for(round * 8 + 8);
    }
    assert_eq!(consumer.stats().quarantined, 0);
}
