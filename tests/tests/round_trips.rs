//! How often an audited call waits for a server: counted on the wire, not by the clock.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use audit_diesel::{Auditor, RedisQueue, audited};
use audit_tests::app::postgres::{Conn, app};
use audit_tests::app::{Account, NewAccount, accounts};
use audit_tests::{LONG, RedisServer, TestDatabase};
use diesel::prelude::*;

/// Passes on what a client and PostgreSQL say to each other, and counts how often the client asks
/// for an answer: each Sync and each simple query is a round trip.
struct CountingProxy {
    url: String,
    round_trips: Arc<AtomicUsize>,
}

impl CountingProxy {
    /// In front of the server of this URL, for one connection.
    fn new(url: &str) -> Self {
        let (_, server) = url.split_once('@').unwrap();
        let (server, database) = server.split_once('/').unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let round_trips = Arc::new(AtomicUsize::new(0));
        let (counter, server) = (Arc::clone(&round_trips), server.to_owned());
        thread::spawn(move || {
            let (client, _) = listener.accept().unwrap();
            let server = TcpStream::connect(server).unwrap();
            let answers = (server.try_clone().unwrap(), client.try_clone().unwrap());
            thread::spawn(move || pass_on(answers.0, answers.1, |_| ()));
            let mut messages = Messages::default();
            pass_on(client, server, |bytes| {
                counter.fetch_add(messages.questions_in(bytes), Ordering::SeqCst);
            });
        });
        Self {
            url: format!("postgres://postgres@127.0.0.1:{port}/{database}"),
            round_trips,
        }
    }

    /// The round trips of this work.
    fn count(&self, work: impl FnOnce()) -> usize {
        let before = self.round_trips.load(Ordering::SeqCst);
        work();
        self.round_trips.load(Ordering::SeqCst) - before
    }
}

fn pass_on(mut from: TcpStream, mut to: TcpStream, mut look: impl FnMut(&[u8])) {
    let mut buffer = [0; 16 << 10];
    while let Ok(length @ 1..) = from.read(&mut buffer) {
        look(&buffer[..length]);
        if to.write_all(&buffer[..length]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Write);
}

/// Reads the client's messages, wherever the network cut them.
#[derive(Default)]
struct Messages {
    started: bool,
    rest: Vec<u8>,
}

impl Messages {
    fn questions_in(&mut self, bytes: &[u8]) -> usize {
        self.rest.extend_from_slice(bytes);
        let mut questions = 0;
        loop {
            // The first messages have no kind: a question about encryption, and the start-up.
            let kind = usize::from(self.started);
            let Some(length) = self.rest.get(kind..kind + 4) else {
                return questions;
            };
            let length = kind + u32::from_be_bytes(length.try_into().unwrap()) as usize;
            if self.rest.len() < length {
                return questions;
            }
            if self.started {
                questions += usize::from(matches!(self.rest[0], b'S' | b'Q'));
            } else {
                // 3.0 in the start-up message; other numbers ask about encryption.
                self.started = self.rest[4..8] == [0, 3, 0, 0];
            }
            self.rest.drain(..length);
        }
    }
}

/// A connection through the proxy with the auditor, to a database with these accounts.
fn connect(auditor: &Auditor, database: &TestDatabase) -> (CountingProxy, Conn) {
    let proxy = CountingProxy::new(&database.url());
    let mut conn = Conn::establish(&proxy.url).unwrap();
    auditor.attach(&mut conn);
    (proxy, conn)
}

fn insert(conn: &mut Conn, email: &str) -> Account {
    audited::insert_into(accounts::table)
        .values(&NewAccount::new(email))
        .get_result(conn)
        .unwrap()
}

fn update(conn: &mut Conn, id: i32, role: &str) {
    audited::update(accounts::table.find(id))
        .set(accounts::role.eq(role))
        .execute(conn)
        .unwrap();
}

fn delete(conn: &mut Conn, id: i32) {
    audited::delete(accounts::table.find(id))
        .execute(conn)
        .unwrap();
}

/// The second time, as the first one prepares the statement.
#[test]
fn an_audited_statement_is_one_round_trip() {
    let app = app();
    let (proxy, mut conn) = connect(&app.auditor, &app.guard);
    let conn = &mut conn;
    let ids: Vec<i32> = ["a", "b"].map(|email| insert(conn, email).id).into();
    update(conn, ids[0], "admin");
    delete(conn, ids[0]);
    let id = ids[1];
    assert_eq!(proxy.count(|| update(conn, id, "viewer")), 1, "update");
    assert_eq!(proxy.count(|| delete(conn, id)), 1, "delete");
    assert_eq!(proxy.count(|| drop(insert(conn, "c"))), 1, "insert");
    // That the count can be another one is what says that it counts at all.
    let other_form = || {
        audited::update(accounts::table.find(id))
            .set(accounts::balance.eq(7))
            .execute(conn)
            .unwrap();
    };
    assert_eq!(proxy.count(other_form), 2, "prepared first");
}

#[test]
fn a_transaction_is_a_round_trip_a_statement_and_two_for_itself() {
    let app = app();
    let (proxy, mut conn) = connect(&app.auditor, &app.guard);
    let conn = &mut conn;
    let id = insert(conn, "a").id;
    update(conn, id, "admin");
    let count = proxy.count(|| {
        conn.transaction(|conn| {
            update(conn, id, "viewer");
            update(conn, id, "member");
            QueryResult::Ok(())
        })
        .unwrap();
    });
    assert_eq!(count, 4);
}

/// One RPUSH for a statement outside of a transaction, and one for all of a transaction.
#[test]
fn records_are_handed_to_redis_at_once() {
    let app = app();
    let redis = RedisServer::start(&[]);
    let queue = RedisQueue::builder(redis.url()).io_timeout(LONG);
    let queue = queue.build().unwrap();
    let auditor = Auditor::builder()
        .redis_queue(queue)
        .without_journal()
        .build()
        .unwrap();
    let (_, mut conn) = connect(&auditor, &app.guard);
    let conn = &mut conn;
    let pushes = || -> u64 {
        let look = &mut redis.connection();
        let info: redis::InfoDict = redis::cmd("INFO").arg("commandstats").query(look).unwrap();
        let calls: Option<String> = info.get("cmdstat_rpush");
        let calls = calls.unwrap_or_default();
        let calls = calls
            .strip_prefix("calls=")
            .and_then(|c| c.split(',').next());
        calls.map_or(0, |calls| calls.parse().unwrap())
    };
    let id = insert(conn, "a").id;
    assert_eq!(pushes(), 1);
    conn.transaction(|conn| {
        for role in ["admin", "viewer", "member"] {
            update(conn, id, role);
        }
        QueryResult::Ok(())
    })
    .unwrap();
    assert_eq!(pushes(), 2);
    update(conn, id, "member");
    assert_eq!(pushes(), 2, "nothing changed, and nothing is pushed");
}

/// A changeset with optional fields has a statement for each set of fields, and neither Diesel nor
/// PostgreSQL forgets one.
#[test]
fn a_connection_keeps_a_bounded_number_of_statements_prepared() {
    #[derive(AsChangeset)]
    #[diesel(table_name = accounts)]
    struct Changes {
        email: Option<&'static str>,
        role: Option<&'static str>,
        balance: Option<i64>,
        note: Option<&'static str>,
        api_token: Option<&'static str>,
    }
    let app = app();
    let (_, mut conn) = connect(&app.auditor, &app.guard);
    let conn = &mut conn;
    let id = insert(conn, "a").id;
    let prepared = |conn: &mut Conn| -> i64 {
        let sql = "(SELECT count(*) FROM pg_prepared_statements WHERE statement LIKE 'UPDATE%')";
        let count = diesel::dsl::sql::<diesel::sql_types::BigInt>(sql);
        diesel::select(count).get_result(conn).unwrap()
    };
    for form in 1..32 {
        let has = |bit: i32| form & (1 << bit) != 0;
        let changes = Changes {
            email: has(0).then_some("b"),
            role: has(1).then_some("admin"),
            balance: has(2).then_some(form as i64),
            note: has(3).then_some("a note"),
            api_token: has(4).then_some("t"),
        };
        for bound in 0..10 {
            // Each number of conditions is a form as well.
            let mut target = accounts::table.find(id).into_boxed();
            for value in 0..bound {
                target = target.filter(accounts::balance.ne(-1 - value));
            }
            audited::update(
                accounts::table.filter(accounts::id.eq_any(target.select(accounts::id))),
            )
            .set(&changes)
            .execute(conn)
            .unwrap();
        }
    }
    let count = prepared(conn);
    assert!((200..=256).contains(&count), "{count} of 310 forms");
}
