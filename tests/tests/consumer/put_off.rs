//! Records whose transaction has not ended go to the end of the Redis list.

use std::sync::{Mutex, mpsc};
use std::time::Duration;

use audit_diesel::{Auditor, Consumer, Journal, Payload, Queue, RedisQueue, Unsettled};
use audit_tests::app::postgres::{App, app};
use audit_tests::{Call, Hooked, LONG, RedisServer, TestRedis, wait_until};
use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use diesel::sql_types::BigInt;

use crate::on_postgres::REFUSE_BAD;
use crate::on_postgres::helpers::*;

/// A transaction that runs.
fn running(app: &App) -> (PgConnection, i64) {
    let mut conn = app.guard.connection();
    conn.batch_execute("BEGIN").unwrap();
    let xid = diesel::dsl::sql::<BigInt>("txid_current()");
    let xid = diesel::select(xid).get_result(&mut conn).unwrap();
    (conn, xid)
}

fn of_transaction(xid: i64) -> Payload {
    payload("n.0").unsettled(&Unsettled { xid, origin: None })
}

fn list(redis: &TestRedis) -> RedisQueue {
    let builder = RedisQueue::builder(redis.url())
        .key(redis.key())
        .owner("tests");
    builder.io_timeout(LONG).build().unwrap()
}

/// One consumer is held up between putting a record off and acknowledging it at its old place,
/// while another one does the same.
#[test]
fn a_late_acknowledgement_spares_what_was_put_off() {
    let (app, redis) = (app(), TestRedis::new());
    let (mut transaction, xid) = running(&app);
    let queue = list(&redis);
    queue.push(&[of_transaction(xid)]).unwrap();
    let (arrives, arrived) = mpsc::channel();
    let (let_go, held) = mpsc::channel::<()>();
    let held = Mutex::new(held);
    let hooked = Hooked::new(list(&redis), move |call| {
        if let Call::Ack(_) = call {
            let _ = arrives.send(());
            let _ = held.lock().unwrap().recv();
        }
        Ok(())
    });
    let late = consumer(&app, hooked);
    arrived.recv_timeout(LONG).unwrap();
    let builder = builder(&app, list(&redis)).interval(Duration::from_millis(5));
    let other = builder.spawn().unwrap();
    wait_until("the other one to put it off", LONG, || {
        other.stats().batches >= 3
    });
    other.stop().unwrap();
    assert_eq!(queue.len(), Ok(1));
    drop(let_go);
    wait_until("the late one to acknowledge", LONG, || {
        late.stats().batches >= 1
    });
    late.stop().unwrap();
    transaction.batch_execute("COMMIT").unwrap();
    let consumer = consumer(&app, queue);
    consumer.flush_within(LONG).unwrap();
    assert_eq!(stored(&app), names(1));
}

/// A Redis that holds a record of a transaction that runs, and one more, and takes nothing.
struct Full {
    app: App,
    server: RedisServer,
    list: RedisQueue,
    transaction: PgConnection,
}

impl Full {
    fn new() -> Self {
        let (app, server) = (app(), RedisServer::start(&[]));
        let (transaction, xid) = running(&app);
        let list = RedisQueue::builder(server.url())
            .owner("tests")
            .io_timeout(LONG);
        let list = list.build().unwrap();
        list.push(&[of_transaction(xid), payload("n.1")]).unwrap();
        let full = Self {
            app,
            server,
            list,
            transaction,
        };
        full.set_memory("1");
        full
    }

    fn set_memory(&self, bytes: &str) {
        let mut command = redis::cmd("CONFIG");
        command.arg("SET").arg("maxmemory").arg(bytes);
        command.exec(&mut self.server.connection()).unwrap();
    }

    fn consumer(&self, auditor: &Auditor) -> Consumer {
        let builder = Consumer::builder(auditor.queue(), self.app.pool.clone());
        builder.interval(Duration::from_millis(5)).spawn().unwrap()
    }

    fn ends_well(mut self, consumer: &Consumer) {
        self.set_memory("0");
        self.transaction.batch_execute("COMMIT").unwrap();
        consumer.flush_within(LONG).unwrap();
        assert_eq!(stored(&self.app), names(2));
    }
}

/// A copy in this process's memory would end with the process.
#[test]
fn a_full_redis_keeps_what_is_put_off() {
    let full = Full::new();
    let auditor = Auditor::builder()
        .redis_queue(full.list.clone())
        .without_journal()
        .build()
        .unwrap();
    let consumer = full.consumer(&auditor);
    wait_until("some tries", LONG, || consumer.stats().outages >= 2);
    assert_eq!(full.list.len(), Ok(2));
    full.ends_well(&consumer);
}

/// Who reads it might otherwise wait for the transaction's end, and all others for that.
#[test]
fn a_full_redis_gets_empty_where_there_is_a_journal() {
    let (full, folder) = (Full::new(), tempfile::tempdir().unwrap());
    let auditor = Auditor::builder()
        .redis_queue(full.list.clone())
        .journal(folder.path().join("journal.db"))
        .build()
        .unwrap();
    let came = full.list.peek(1).unwrap().payloads;
    let consumer = full.consumer(&auditor);
    wait_until("an empty list", LONG, || full.list.is_empty().unwrap());
    assert_eq!(stored(&full.app), ["n.1"]);
    let journal = Journal::builder(folder.path().join("journal.db"));
    let waits = journal.open().unwrap().peek(10).unwrap().payloads;
    assert_ne!(
        waits, came,
        "an acknowledgement of its old place cannot mean it"
    );
    assert_eq!(waits[0].before_put_off(), came[0]);
    full.ends_well(&consumer);
}

/// What was quarantined is the record as it came, and is so once.
#[test]
fn what_was_put_off_is_quarantined_as_it_came() {
    let (app, redis) = (app(), TestRedis::new());
    let (mut transaction, xid) = running(&app);
    let bad = payload("bad").unsettled(&Unsettled { xid, origin: None });
    let queue = list(&redis);
    queue.push(std::slice::from_ref(&bad)).unwrap();
    app.guard.connection().batch_execute(REFUSE_BAD).unwrap();
    let builder = builder(&app, queue.clone()).interval(Duration::from_millis(5));
    let consumer = builder.spawn().unwrap();
    wait_until("it is put off", LONG, || consumer.stats().batches >= 2);
    transaction.batch_execute("COMMIT").unwrap();
    wait_until("it is quarantined", LONG, || quarantined(&app).len() == 1);
    queue.push(std::slice::from_ref(&bad)).unwrap();
    consumer.flush_within(LONG).unwrap();
    let held = quarantined(&app);
    assert_eq!(held.len(), 1);
    assert_eq!(held[0].payload, bad.as_bytes());
}
