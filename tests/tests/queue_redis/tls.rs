//! The Redis queue over TLS.

use std::sync::Arc;

use audit_diesel::{
    AuditEvent, AuditLog, Auditor, Consumer, Journal, QueueError, RedisQueueBuilder,
};
use audit_tests::app::postgres::{self, trail};
use audit_tests::{Authority, Certificate};
use diesel::prelude::*;

use super::*;

/// Where our servers listen.
const HOST: &str = "127.0.0.1";

const SHORT: Duration = Duration::from_millis(400);

fn builder(url: impl Into<String>, ca: &Authority) -> RedisQueueBuilder {
    RedisQueue::builder(url)
        .owner("tests")
        .tls_ca(ca.pem())
        .connect_timeout(LONG)
        .io_timeout(LONG)
}

fn trusting(ca: &Authority, server: &RedisServer) -> RedisQueue {
    builder(server.url(), ca).build().unwrap()
}

fn impatient(url: String, ca: &Authority) -> RedisQueue {
    let builder = builder(url, ca).connect_timeout(SHORT).io_timeout(SHORT);
    builder.build().unwrap()
}

#[test]
fn records_travel_over_tls_and_survive_a_restart() {
    let ca = Authority::new();
    let args = ["--appendonly", "yes", "--appendfsync", "always"];
    let mut server = RedisServer::start_with_tls(&ca.certify(HOST), None, &args);
    let queue = trusting(&ca, &server);
    // More than one record of TLS holds.
    let long = "x".repeat(100_000);
    queue.push(&payloads(&["a", &long])).unwrap();
    server.restart();
    queue.push(&payloads(&["b"])).unwrap();
    server.kill9();
    assert_away(&queue.push(&payloads(&["c"])).unwrap_err(), "refused");
    server.restart();
    assert_eq!(texts(&queue), ["a", &long, "b"]);
    let plain = server.url().replace("rediss", "redis");
    assert!(with_timeout(plain, SHORT).len().is_err());
}

#[test]
fn a_log_in_and_a_database_work_over_tls() {
    let ca = Authority::new();
    let password = format!(">{PASSWORD}");
    let user = ["--user", "ada", "on", &password, "~*", "+@all"];
    let args = [&user[..], &["--requirepass", "other"]].concat();
    let server = RedisServer::start_with_tls(&ca.certify(HOST), None, &args);
    let url = |login: &str| format!("rediss://{login}{HOST}:{}/3", server.port());
    let queue = builder(url(&format!("ada:{PASSWORD}@")), &ca).build();
    let queue = queue.unwrap();
    queue.push(&payloads(&["a"])).unwrap();
    assert_eq!(texts(&queue), ["a"]);
    assert_discreet(&queue);
    let wrong = builder(url(":wrong@"), &ca).build().unwrap();
    assert_wrong(&wrong.len().unwrap_err(), "refuses the user or password");
    let none = builder(url(""), &ca).build().unwrap();
    assert_wrong(&none.len().unwrap_err(), "asks for a password");
}

/// What each call says to a server with this certificate.
fn assert_refused(ca: &Authority, certificate: &Certificate, words: &str) {
    let server = RedisServer::start_with_tls(certificate, None, &[]);
    for error in errors(&trusting(ca, &server)) {
        assert_wrong(&error, words);
    }
    assert_eq!(redis_len(&server), 0);
}

fn redis_len(server: &RedisServer) -> u64 {
    let mut len = redis::cmd("LLEN");
    let len = len.arg("audit:queue").query(&mut server.connection());
    len.unwrap()
}

#[test]
fn a_certificate_of_another_ca_is_refused_by_name() {
    let ca = Authority::new();
    let other = Authority::new();
    let certificate = other.certify(HOST);
    assert_refused(&ca, &certificate, "`.tls_ca(pem)`");
    // Nor does the system know it.
    let server = RedisServer::start_with_tls(&certificate, None, &[]);
    assert_wrong(&queue(server.url()).len().unwrap_err(), "`.tls_ca(pem)`");
    // Several authorities may be named.
    let both = format!("{}{}", ca.pem(), other.pem());
    let queue = builder(server.url(), &ca).tls_ca(both).build().unwrap();
    assert_eq!(queue.len(), Ok(0));
}

#[test]
fn an_expired_certificate_is_refused() {
    let ca = Authority::new();
    let expired = ca.certify_between(HOST, 2020, 2022);
    assert_refused(&ca, &expired, "has expired");
    let early = ca.certify_between(HOST, 3000, 4000);
    assert_refused(&ca, &early, "not valid yet");
}

#[test]
fn a_certificate_of_another_host_is_refused() {
    let ca = Authority::new();
    assert_refused(&ca, &ca.certify("redis.example.org"), "another host");
}

#[test]
fn a_server_that_renews_its_certificate_is_taken_again() {
    let ca = Authority::new();
    let mut server = RedisServer::start_with_tls(&ca.certify_between(HOST, 2020, 2022), None, &[]);
    let queue = trusting(&ca, &server);
    assert_wrong(&queue.len().unwrap_err(), "has expired");
    let renewed = ca.certify(HOST);
    std::fs::write(server.folder().join("own.pem"), &renewed.pem).unwrap();
    std::fs::write(server.folder().join("own.key"), &renewed.key).unwrap();
    server.restart();
    assert_eq!(queue.len(), Ok(0));
}

#[test]
fn a_server_may_ask_for_a_client_certificate() {
    let ca = Authority::new();
    let clients = Authority::new();
    let server = RedisServer::start_with_tls(&ca.certify(HOST), Some(&clients), &[]);
    let with = |shown: &Certificate| {
        let builder = builder(server.url(), &ca);
        let builder = builder.tls_client_certificate(shown.pem.as_str(), shown.key.as_str());
        builder.build().unwrap()
    };
    let known = with(&clients.certify("app"));
    known.push(&payloads(&["a"])).unwrap();
    assert_eq!(texts(&known), ["a"]);
    let refused = [
        trusting(&ca, &server),
        with(&ca.certify("app")),
        with(&clients.certify_between("app", 2020, 2022)),
    ];
    for queue in refused {
        for error in errors(&queue) {
            let said = error.to_string();
            assert!(said.contains("`.tls_client_certificate(…)`"), "{said}");
        }
    }
    assert_eq!(texts(&known), ["a"]);
}

#[test]
fn a_silent_tls_server_is_given_up_in_time() {
    let ca = Authority::new();
    // The kernel takes the connection, and nobody ever answers.
    let listener = TcpListener::bind((HOST, 0)).unwrap();
    let url = format!(
        "rediss://ada:{PASSWORD}@{}/2",
        listener.local_addr().unwrap()
    );
    let silent = impatient(url, &ca);
    let started = Instant::now();
    for error in errors(&silent) {
        assert_away(&error, "no answer within 400ms while TLS was set up");
    }
    // Or it becomes silent.
    let server = RedisServer::start_with_tls(&ca.certify(HOST), None, &[]);
    let queue = trusting(&ca, &server);
    queue.push(&payloads(&["a"])).unwrap();
    let queue = impatient(server.url(), &ca);
    wait_until("a connection", LONG, || queue.len() == Ok(1));
    server.suspend();
    for error in errors(&queue) {
        assert_away(&error, "no answer within 400ms");
    }
    assert!(started.elapsed() < LONG / 2, "{:?}", started.elapsed());
    server.resume();
    wait_until("the server", LONG, || queue.len().is_ok());
}

#[test]
fn a_server_without_tls_is_told_apart() {
    let ca = Authority::new();
    // Redis waits for the end of what it takes for a command, or closes the connection.
    let server = RedisServer::start(&[]);
    let silent = impatient(server.url().replace("redis", "rediss"), &ca);
    for error in errors(&silent) {
        assert!(error.to_string().contains("TLS"), "{error}");
        assert!(error.to_string().contains("that port"), "{error}");
    }
    assert_eq!(redis_len(&server), 0);
    for (answer, words) in [
        (&b"-ERR unknown command\r\n"[..], "does not speak TLS"),
        (b"", "speaks no TLS at that port"),
    ] {
        let url = answering(answer);
        let queue = builder(url, &ca).build().unwrap();
        let error = queue.len().unwrap_err();
        assert!(error.to_string().contains(words), "{error}");
    }
}

/// The URL of a server that says this, and closes the connection.
fn answering(answer: &'static [u8]) -> String {
    let listener = TcpListener::bind((HOST, 0)).unwrap();
    let url = format!("rediss://{}/", listener.local_addr().unwrap());
    thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut hello = [0; 5];
        stream.read_exact(&mut hello).unwrap();
        let mut rest = vec![0; usize::from(hello[3]) << 8 | usize::from(hello[4])];
        stream.read_exact(&mut rest).unwrap();
        stream.write_all(answer).unwrap();
    });
    url
}

fn refused(builder: RedisQueueBuilder) -> QueueError {
    let shown = format!("{builder:?}");
    assert!(
        !shown.contains("BEGIN") && !shown.contains("45, 45, 45"),
        "{shown}"
    );
    let error = builder.build().unwrap_err();
    assert!(!error.to_string().contains("BEGIN"), "{error}");
    assert_discreet(&error);
    error
}

#[test]
fn what_cannot_be_right_for_tls_is_refused_by_build() {
    let ca = Authority::new();
    let own = ca.certify("app");
    let url = format!("rediss://ada:{PASSWORD}@{HOST}/");
    let cut = &ca.pem()[..ca.pem().len() / 2];
    let forged = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    for (pem, words) in [
        ("", "`tls_ca` was given holds no certificate"),
        ("/etc/redis/ca.pem", "not its path"),
        (cut, "`tls_ca` was given holds no certificate"),
        (&own.key, "`tls_ca` was given holds no certificate"),
        (forged, "`tls_ca` was given is no certificate"),
    ] {
        assert_wrong(&refused(builder(&url, &ca).tls_ca(pem)), words);
    }
    let other = ca.certify("app");
    let encrypted = own.key.replace("PRIVATE", "ENCRYPTED PRIVATE");
    for (certificate, key, words) in [
        (own.key.as_str(), own.key.as_str(), "holds no certificate"),
        (&own.pem, &own.pem, "holds no private key"),
        (&own.pem, &encrypted, "must not be encrypted"),
        (&own.pem, &other.key, "belongs to another certificate"),
        (forged, &own.key, "cannot be used"),
    ] {
        let builder = builder(&url, &ca).tls_client_certificate(certificate, key);
        assert_wrong(&refused(builder), words);
    }
    let plain = format!("redis://ada:{PASSWORD}@{HOST}/");
    assert_wrong(&refused(builder(plain, &ca)), "`rediss://`");
    let insecure = format!("rediss://ada:{PASSWORD}@{HOST}/#insecure");
    assert_wrong(&refused(builder(insecure, &ca)), "#insecure");
    for url in [
        "rediss:",
        "rediss://",
        "rediss://a:b:c/",
        "rediss://h/first",
    ] {
        assert_wrong(&refused(RedisQueue::builder(url)), "malformed");
    }
}

#[test]
fn an_auditor_and_a_consumer_deliver_over_tls() {
    let ca = Authority::new();
    let clients = Authority::new();
    let shown = clients.certify("app");
    let args = ["--appendonly", "yes", "--appendfsync", "always"];
    let mut server = RedisServer::start_with_tls(&ca.certify(HOST), Some(&clients), &args);
    let list = || {
        let builder = builder(server.url(), &ca);
        let builder = builder.tls_client_certificate(shown.pem.as_str(), shown.key.as_str());
        builder.build().unwrap()
    };
    let app = postgres::app();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("journal.db");
    let auditor = Auditor::builder().redis_queue(list()).journal(&path);
    let auditor = auditor.build().unwrap();
    let consumer = Consumer::builder(Arc::new(list()), app.pool.clone())
        .interval(Duration::from_millis(20))
        .spawn()
        .unwrap();
    let stored = || {
        let rows = trail::audit_logs::table
            .select(AuditLog::as_select())
            .order(trail::audit_logs::id)
            .load(&mut app.pool.get().unwrap());
        let rows = rows.unwrap().into_iter();
        rows.map(|row| row.action).collect::<Vec<_>>()
    };
    auditor.record(AuditEvent::new("first")).unwrap();
    wait_until("the first record", LONG, || stored() == ["first"]);
    server.kill9();
    auditor.record(AuditEvent::new("second")).unwrap();
    server.restart();
    wait_until("both records", LONG, || stored() == ["first", "second"]);
    drop(consumer);
    drop(auditor);
    let journal = Journal::builder(&path).open().unwrap();
    assert_eq!(journal.is_empty(), Ok(true));
}
