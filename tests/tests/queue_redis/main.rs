//! The Redis queue where Redis is away, wrong, full or silent.

mod tls;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use audit_diesel::{Payload, Queue, QueueError, RedisQueue};
use audit_tests::{LONG, RedisServer, TestRedis, send_signal, wait_until};

const PASSWORD: &str = "s3cr3t-w0rd";

fn payloads(texts: &[&str]) -> Vec<Payload> {
    texts
        .iter()
        .map(|text| Payload::from(text.as_bytes().to_vec()))
        .collect()
}

fn texts(queue: &RedisQueue) -> Vec<String> {
    let batch = queue.peek(1_000).unwrap();
    let text = |payload: &Payload| String::from_utf8(payload.as_bytes().to_vec()).unwrap();
    batch.payloads.iter().map(text).collect()
}

fn queue(url: impl Into<String>) -> RedisQueue {
    with_timeout(url, LONG)
}

fn with_timeout(url: impl Into<String>, timeout: Duration) -> RedisQueue {
    RedisQueue::builder(url)
        .connect_timeout(timeout)
        .io_timeout(timeout)
        .build()
        .unwrap()
}

/// What the queue says to each of its calls; all of them fail.
fn errors(queue: &RedisQueue) -> Vec<QueueError> {
    let payload = payloads(&["a"]);
    let batch = audit_diesel::Batch {
        payloads: payload.clone(),
        receipt: 0,
    };
    vec![
        queue.push(&payload).unwrap_err(),
        queue.peek(1).unwrap_err(),
        queue.ack(&batch).unwrap_err(),
        queue.len().unwrap_err(),
    ]
}

fn assert_away(error: &QueueError, words: &str) {
    assert!(matches!(error, QueueError::Unavailable { .. }), "{error:?}");
    assert!(error.to_string().contains(words), "{error}");
    assert_discreet(error);
}

fn assert_wrong(error: &QueueError, words: &str) {
    assert!(
        matches!(error, QueueError::Misconfigured { .. }),
        "{error:?}"
    );
    assert!(error.to_string().contains(words), "{error}");
    assert_discreet(error);
}

fn assert_discreet(said: &impl std::fmt::Debug) {
    let said = format!("{said:?}");
    assert!(!said.contains(PASSWORD) && !said.contains("ada"), "{said}");
}

#[test]
fn a_url_that_cannot_be_right_is_refused_without_showing_it() {
    for url in [
        String::new(),
        "redis".to_owned(),
        format!("http://ada:{PASSWORD}@127.0.0.1/"),
        format!("redis://ada:{PASSWORD}@127.0.0.1:port/"),
        format!("redis://ada:{PASSWORD}@127.0.0.1/first"),
        format!("redis://ada:{PASSWORD}/1@127.0.0.1/"),
        format!("redis://{PASSWORD}#ada@127.0.0.1/"),
        format!("rediss://{PASSWORD}#ada@127.0.0.1/"),
        format!("redis://ada:{PASSWORD}@/"),
        format!("ada:{PASSWORD}"),
    ] {
        let error = RedisQueue::builder(&url).build().unwrap_err();
        assert_wrong(&error, "its URL is malformed");
    }
}

#[test]
fn settings_that_cannot_work_are_refused() {
    let builder = || RedisQueue::builder("redis://127.0.0.1/");
    for builder in [
        builder().key(""),
        builder().connect_timeout(Duration::ZERO),
        builder().io_timeout(Duration::ZERO),
        builder().pool_size(0),
    ] {
        assert_wrong(&builder.build().unwrap_err(), "it");
    }
}

#[test]
fn its_name_and_debug_text_show_no_password() {
    let builder = RedisQueue::builder(format!("redis://ada:{PASSWORD}@127.0.0.1:6400/3"));
    assert_discreet(&builder);
    let queue = builder.build().unwrap();
    assert_eq!(
        queue.name(),
        "the Redis list audit:queue at 127.0.0.1:6400/3"
    );
    assert_discreet(&queue);
}

#[test]
fn an_unreachable_server_is_an_outage_and_noticed_at_once() {
    let mut server = RedisServer::start(&[]);
    let url = server.url();
    server.kill9();
    let queue = queue(url);
    let start = Instant::now();
    for error in errors(&queue) {
        assert_away(&error, "refused");
    }
    assert!(start.elapsed() < LONG / 2, "{:?}", start.elapsed());
    server.restart();
    queue.push(&payloads(&["a"])).unwrap();
}

#[test]
fn a_silent_server_holds_nobody_up() {
    // The kernel takes the connection, and nobody ever answers.
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let address = listener.local_addr().unwrap();
    for url in [
        format!("redis://{address}/"),
        format!("redis://ada:{PASSWORD}@{address}/2"),
    ] {
        let queue = with_timeout(url, Duration::from_millis(400));
        for _ in 0..2 {
            for error in errors(&queue) {
                assert_away(&error, "no answer within 400ms");
            }
        }
    }
}

#[test]
fn waiting_for_a_connection_is_bounded() {
    let server = RedisServer::start(&[]);
    let queue = RedisQueue::builder(server.url())
        .pool_size(1)
        .connect_timeout(Duration::from_millis(500))
        .io_timeout(LONG)
        .build()
        .unwrap();
    queue.push(&payloads(&["a"])).unwrap();
    server.suspend();
    let (answered, answers) = mpsc::channel();
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| answered.send(queue.len()).unwrap());
        }
        // Whoever has the connection waits for the server, and the others for the connection.
        for answer in answers.iter().take(3) {
            assert_away(&answer.unwrap_err(), "busy");
        }
        server.resume();
        assert_eq!(answers.recv().unwrap(), Ok(1));
    });
}

#[test]
fn an_answer_that_comes_late_is_not_taken_for_the_next_one() {
    let server = RedisServer::start(&[]);
    let queue = with_timeout(server.url(), Duration::from_secs(3));
    queue.push(&payloads(&["a"])).unwrap();
    server.suspend();
    assert_away(&queue.push(&payloads(&["b"])).unwrap_err(), "no answer");
    server.resume();
    wait_until("the late push", LONG, || queue.len() == Ok(2));
    assert_eq!(texts(&queue), ["a", "b"]);
}

#[test]
fn half_a_command_is_not_completed_by_the_next_one() {
    let server = RedisServer::start(&[]);
    let queue = RedisQueue::builder(server.url())
        .max_record_bytes(64 << 20)
        .connect_timeout(LONG)
        .io_timeout(Duration::from_secs(3))
        .build()
        .unwrap();
    queue.push(&payloads(&["a"])).unwrap();
    server.suspend();
    // More than the kernel holds for a server that does not read.
    let huge = Payload::from(vec![b'x'; 48 << 20]);
    assert_away(&queue.push(&[huge]).unwrap_err(), "no answer");
    server.resume();
    assert_eq!(texts(&queue), ["a"]);
    queue.push(&payloads(&["b"])).unwrap();
    assert_eq!(texts(&queue), ["a", "b"]);
}

#[test]
fn a_restart_between_two_calls_is_not_noticed() {
    let mut server = RedisServer::start(&["--appendonly", "yes"]);
    let queue = queue(server.url());
    queue.push(&payloads(&["a"])).unwrap();
    server.restart();
    queue.push(&payloads(&["b"])).unwrap();
    server.restart();
    let batch = queue.peek(10).unwrap();
    server.restart();
    assert_eq!(queue.ack(&batch).unwrap(), 2);
    server.restart();
    assert_eq!(queue.len().unwrap(), 0);
}

const CHILD: &str = "AUDIT_TEST_CHILD_REDIS";

/// Not a test of its own: it asks Redis twice, over a new connection and over a pooled one.
#[test]
#[ignore = "a child process of another test"]
fn child() {
    let Ok(url) = std::env::var(CHILD) else {
        return;
    };
    let queue = queue(url);
    for line in std::io::stdin().lines() {
        println!("\nasking for {}", line.unwrap());
        println!("length {}", queue.len().unwrap());
    }
}

/// As by a debugger, a terminal, or who freezes containers: the kernel ends its waiting then.
#[test]
fn a_process_that_is_suspended_while_it_waits_waits_on() {
    let server = RedisServer::start(&[]);
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["child", "--exact", "--ignored", "--nocapture"])
        .env(CHILD, server.url())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut lines = lines.map_while(Result::ok);
    for _ in 0..2 {
        server.suspend();
        writeln!(child.stdin.as_mut().unwrap(), "the length").unwrap();
        assert!(
            lines.any(|line| line == "asking for the length"),
            "it ended"
        );
        // There is no event that says that it waits.
        for _ in 0..5 {
            thread::sleep(Duration::from_millis(50));
            assert!(send_signal("STOP", &[child.id()]));
            assert!(send_signal("CONT", &[child.id()]));
        }
        server.resume();
        assert!(lines.any(|line| line == "length 0"), "it gave up");
    }
    drop(child.stdin.take());
    assert!(child.wait().unwrap().success());
}

#[test]
fn every_pooled_connection_survives_a_restart() {
    let mut server = RedisServer::start(&["--appendonly", "yes"]);
    let queue = queue(server.url());
    let push_from_all = || {
        thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| queue.push(&payloads(&["a"])).unwrap());
            }
        });
    };
    push_from_all();
    server.restart();
    push_from_all();
    assert_eq!(queue.len().unwrap(), 16);
}

#[test]
fn a_wrong_password_is_told_at_once() {
    let server = RedisServer::start(&["--requirepass", PASSWORD]);
    let port = server.port();
    let cases = [
        (
            format!("redis://:{PASSWORD}x@127.0.0.1:{port}/"),
            "user or password",
        ),
        (
            format!("redis://ada:{PASSWORD}@127.0.0.1:{port}/"),
            "user or password",
        ),
        (format!("redis://127.0.0.1:{port}/"), "asks for a password"),
        (format!("redis://127.0.0.1:{port}/2"), "asks for a password"),
        (
            format!("redis://:{PASSWORD}@127.0.0.1:{port}/99"),
            "no database",
        ),
    ];
    for (url, words) in cases {
        for error in errors(&queue(url)) {
            assert_wrong(&error, words);
        }
    }
    let right = queue(format!("redis://:{PASSWORD}@127.0.0.1:{port}/2"));
    right.push(&payloads(&["a"])).unwrap();
    assert_eq!(texts(&right), ["a"]);
}

#[test]
fn a_password_that_the_server_does_not_want_is_told() {
    let server = RedisServer::start(&[]);
    let queue = queue(format!("redis://:{PASSWORD}@127.0.0.1:{}/", server.port()));
    for error in errors(&queue) {
        assert_wrong(&error, "no password set");
    }
}

#[test]
fn missing_permissions_are_told() {
    let server = RedisServer::start(&[]);
    redis::cmd("ACL")
        .arg(&[
            "SETUSER",
            "ada",
            "on",
            &format!(">{PASSWORD}"),
            "~*",
            "+ping",
        ])
        .exec(&mut server.connection())
        .unwrap();
    let queue = queue(format!(
        "redis://ada:{PASSWORD}@127.0.0.1:{}/",
        server.port()
    ));
    for error in errors(&queue) {
        assert_wrong(&error, "may not do what the queue does");
    }
}

#[test]
fn a_key_of_another_type_is_told() {
    let redis = TestRedis::new();
    redis::cmd("SET")
        .arg(redis.key())
        .arg("text")
        .exec(&mut redis.connection())
        .unwrap();
    let queue = RedisQueue::builder(redis.url())
        .key(redis.key())
        .build()
        .unwrap();
    for error in errors(&queue) {
        assert_wrong(&error, "no list");
    }
}

#[test]
fn a_replica_is_an_outage() {
    let server = RedisServer::start(&["--replicaof", "127.0.0.1", "1"]);
    let error = queue(server.url()).push(&payloads(&["a"])).unwrap_err();
    assert_away(&error, "read-only replica");
}

#[test]
fn too_many_clients_are_an_outage() {
    let server = RedisServer::start(&["--maxclients", "1"]);
    // Whoever asked whether it is ready may not be gone yet.
    let client = redis::Client::open(server.url()).unwrap();
    let mut only_one = None;
    wait_until("the only place", LONG, || {
        let conn = client.get_connection().and_then(|mut conn| {
            redis::cmd("PING").exec(&mut conn)?;
            Ok(conn)
        });
        only_one = conn.ok();
        only_one.is_some()
    });
    let open = queue(server.url());
    let locked = queue(format!("redis://:{PASSWORD}@127.0.0.1:{}/1", server.port()));
    for queue in [open, locked] {
        for error in errors(&queue) {
            assert!(matches!(error, QueueError::Unavailable { .. }), "{error:?}");
        }
    }
}

#[test]
fn a_full_server_takes_nothing_and_still_drains() {
    let server = RedisServer::start(&["--maxmemory", "4mb", "--maxmemory-policy", "noeviction"]);
    let writer = queue(server.url());
    let chunk: Vec<_> = (0..20).map(|n| Payload::from(vec![n; 1_000])).collect();
    let mut pushed = 0;
    let error = loop {
        match writer.push(&chunk) {
            Ok(()) => pushed += chunk.len(),
            Err(error) => break error,
        }
    };
    assert_away(&error, "maxmemory");
    // A consumer that starts now: neither a connection nor a script is there yet.
    let consumer = queue(server.url());
    let mut drained = 0;
    while let batch @ 1.. = consumer
        .peek(100)
        .map(|b| {
            drained += consumer.ack(&b).unwrap();
            b.len()
        })
        .unwrap()
    {
        assert!(batch <= 100);
    }
    assert_eq!(drained, pushed);
    writer.push(&chunk).unwrap();
}

#[test]
fn a_peek_is_bounded_in_bytes() {
    let redis = TestRedis::new();
    let queue = RedisQueue::builder(redis.url())
        .key(redis.key())
        .build()
        .unwrap();
    let large: Vec<_> = (0..20).map(|n| Payload::from(vec![n; 1 << 20])).collect();
    queue.push(&large).unwrap();
    assert_eq!(queue.len().unwrap(), 20, "more than one RPUSH carries");
    let mut seen = Vec::new();
    while let batch = queue.peek(100).unwrap()
        && !batch.is_empty()
    {
        assert!(batch.len() <= 8, "{} MiB at once", batch.len());
        assert_eq!(queue.ack(&batch).unwrap(), batch.len());
        seen.extend(batch.payloads);
    }
    assert_eq!(seen, large);
}

#[test]
fn a_payload_beyond_the_bound_of_a_peek_comes_through_alone() {
    let redis = TestRedis::new();
    let queue = RedisQueue::builder(redis.url())
        .key(redis.key())
        .max_record_bytes(9 << 20)
        .build()
        .unwrap();
    let huge = Payload::from(vec![1; 9 << 20]);
    queue.push(&[huge.clone(), huge]).unwrap();
    let batch = queue.peek(10).unwrap();
    assert_eq!(batch.len(), 1);
    assert_eq!(queue.ack(&batch).unwrap(), 1);
}

#[test]
fn an_oversized_record_is_refused() {
    let redis = TestRedis::new();
    let queue = RedisQueue::builder(redis.url())
        .key(redis.key())
        .max_record_bytes(10)
        .build()
        .unwrap();
    queue.push(&payloads(&["0123456789"])).unwrap();
    let error = queue.push(&payloads(&["a", "01234567890"])).unwrap_err();
    assert!(matches!(
        error,
        QueueError::TooLarge {
            bytes: 11,
            max_bytes: 10,
            ..
        }
    ));
    assert_eq!(queue.len().unwrap(), 1);
}

/// Answers every command with the same line.
fn answering(line: &'static str) -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            thread::spawn(move || {
                let (mut input, mut output) = (&stream, &stream);
                while let Ok(1..) = input.read(&mut [0; 4096]) {
                    let _ = output.write_all(line.as_bytes());
                }
            });
        }
    });
    port
}

#[test]
fn what_a_server_quotes_is_not_repeated() {
    let port =
        answering("-ERR unknown command 'AUTH', with args beginning with: 's3cr3t-w0rd' 'ada'\r\n");
    for url in [
        format!("redis://127.0.0.1:{port}/"),
        format!("redis://:{PASSWORD}@127.0.0.1:{port}/"),
    ] {
        for error in errors(&queue(url)) {
            assert_discreet(&error);
        }
    }
}

#[test]
fn something_else_at_the_port_is_told() {
    let port = answering("HTTP/1.1 400 Bad Request\r\n\r\n");
    for error in errors(&queue(format!("redis://127.0.0.1:{port}/"))) {
        assert_wrong(&error, "does not speak like Redis");
    }
}

#[test]
fn a_time_out_without_end_is_fine() {
    let redis = TestRedis::new();
    let queue = RedisQueue::builder(redis.url()).key(redis.key());
    let queue = queue
        .connect_timeout(Duration::MAX)
        .io_timeout(Duration::MAX)
        .build()
        .unwrap();
    queue.push(&payloads(&["a"])).unwrap();
    assert_eq!(texts(&queue), ["a"]);
}

#[test]
fn a_queue_starts_no_threads() {
    let redis = TestRedis::new();
    let queue = RedisQueue::builder(redis.url())
        .key(redis.key())
        .build()
        .unwrap();
    thread::scope(|scope| {
        for _ in 0..20 {
            scope.spawn(|| queue.push(&payloads(&["a"])).unwrap());
        }
    });
    assert_eq!(queue.len().unwrap(), 20);
    let tasks = std::fs::read_dir("/proc/self/task").unwrap();
    let name = |task: std::fs::DirEntry| std::fs::read_to_string(task.path().join("comm"));
    let names: Vec<_> = tasks.flatten().filter_map(|task| name(task).ok()).collect();
    assert!(
        !names.iter().any(|name| name.starts_with("r2d2")),
        "{names:?}"
    );
}
