//! What waits and what fails is in the stats and the warnings, and is said in the log.

use std::io::Write;
use std::process::Command;
use std::time::Duration;

use audit_diesel::{Auditor, AuditorStats, Queue, WorkerState};
use audit_tests::wait_until;
use diesel::connection::SimpleConnection;

use super::support::*;

const TIMEOUT: Duration = Duration::from_secs(5);

/// Why this thread fails, if it does.
fn failing(stats: &AuditorStats, name: &str) -> Option<String> {
    let worker = stats.workers.iter().find(|worker| worker.name == name);
    match &worker.unwrap().state {
        WorkerState::Failing { reason, .. } => Some(reason.clone()),
        _ => None,
    }
}

fn warnings(auditor: &Auditor) -> String {
    let warnings = auditor.warnings();
    let texts = warnings.iter().map(ToString::to_string);
    texts.collect::<Vec<_>>().join("\n")
}

fn in_journal(auditor: &Auditor) -> u64 {
    auditor.stats().journal.unwrap().unwrap().records
}

#[test]
fn a_redis_that_is_away_is_named_with_what_waits_until_it_is_back() {
    let mut setup = Setup::new(&["--appendonly", "yes"]);
    let auditor = setup.confirmed().build().unwrap();
    assert_eq!(in_journal(&auditor), 0);
    setup.server.kill9();
    record(&auditor, 0..7);
    wait_until("the forwarder to fail", LONG, || {
        failing(&auditor.stats(), "audit-forwarder").is_some()
    });
    let backlog = auditor.stats().journal.unwrap().unwrap();
    assert_eq!(backlog.records, 7);
    assert!(backlog.bytes > 7 * 50, "{backlog:?}");
    assert!(backlog.oldest.unwrap() < LONG, "{backlog:?}");
    let said = warnings(&auditor);
    assert!(
        said.contains("the thread audit-forwarder has been failing for"),
        "{said}"
    );
    assert!(said.contains("cannot be asked how it is set up"), "{said}");
    setup.server.restart();
    let _consumer = setup.consumer();
    setup.wait_for(7);
    setup.wait_for_an_empty_journal();
    wait_until("all is well", LONG, || {
        let stats = auditor.stats();
        stats
            .workers
            .iter()
            .all(|it| it.state == WorkerState::Running)
    });
    let backlog = auditor.stats().journal.unwrap().unwrap();
    assert_eq!((backlog.records, backlog.oldest), (0, None));
    assert!(
        !warnings(&auditor).contains("fail"),
        "{}",
        warnings(&auditor)
    );
}

#[test]
fn a_pool_to_confirm_in_that_may_not_read_the_trail_is_named() {
    let setup = Setup::new(&[]);
    let role = format!("blind_{}", uuid::Uuid::now_v7().simple());
    let mut owner = setup.app.guard.connection();
    owner
        .batch_execute(&format!("CREATE ROLE {role} LOGIN"))
        .unwrap();
    let url = setup
        .app
        .guard
        .url()
        .replacen("postgres@", &format!("{role}@"), 1);
    let auditor = Auditor::builder()
        .redis_queue(setup.list())
        .journal(setup.path())
        .confirm_in(audit_tests::pg_pool(&url))
        .confirm_after(GRACE)
        .build()
        .unwrap();
    let _consumer = setup.consumer();
    record(&auditor, 0..5);
    setup.wait_for(5);
    wait_until("the confirmer to fail", LONG, || {
        failing(&auditor.stats(), "audit-confirmer").is_some()
    });
    let reason = failing(&auditor.stats(), "audit-confirmer").unwrap();
    assert!(reason.contains("needs SELECT on audit_logs"), "{reason}");
    assert_eq!(in_journal(&auditor), 5, "none is taken for confirmed");
    let said = warnings(&auditor);
    assert!(
        said.contains("the thread audit-confirmer has been failing"),
        "{said}"
    );
    drop(auditor);
    owner.batch_execute(&format!("DROP ROLE {role}")).unwrap();
}

#[test]
fn records_that_wait_in_memory_are_counted_and_named() {
    let mut setup = Setup::new(&[]);
    let auditor = Auditor::builder()
        .redis_queue(setup.list())
        .without_journal()
        .build()
        .unwrap();
    let stats = auditor.stats();
    assert_eq!(stats.journal, None);
    assert_eq!(stats.memory.unwrap().records, 0);
    setup.server.kill9();
    record(&auditor, 0..3);
    let waiting = auditor.stats().memory.unwrap();
    assert_eq!(waiting.records, 3);
    assert!(waiting.bytes > 0 && waiting.oldest.is_some());
    let said = warnings(&auditor);
    assert!(
        said.contains("holds 3 records that nobody else has taken"),
        "{said}"
    );
    let left = auditor.shutdown(Duration::from_millis(10)).unwrap_err();
    assert_eq!((left.in_journal, left.in_memory), (0, 3));
    assert!(
        left.to_string().contains("3 are in memory, and are lost"),
        "{left}"
    );
    setup.server.restart();
    auditor.shutdown(LONG).unwrap();
    assert_eq!(setup.list().len(), Ok(3));
    assert_eq!(auditor.stats().memory.unwrap().records, 0);
}

#[test]
fn what_is_recorded_before_a_shutdown_is_in_redis_after_it() {
    let setup = Setup::new(&[]);
    for round in 1..=5 {
        let auditor = Auditor::builder()
            .redis_queue(setup.list())
            .journal(setup.path())
            .build()
            .unwrap();
        record(&auditor, 0..200);
        auditor.shutdown(LONG).unwrap();
        assert_eq!(setup.list().len(), Ok(round * 200));
    }
}

#[test]
fn a_shutdown_without_redis_ends_in_time_and_says_what_is_left_where() {
    let mut setup = Setup::new(&[]);
    let auditor = setup.confirmed().build().unwrap();
    setup.server.kill9();
    record(&auditor, 0..4);
    let started = std::time::Instant::now();
    let left = auditor.shutdown(Duration::from_millis(200)).unwrap_err();
    assert!(started.elapsed() < TIMEOUT, "{:?}", started.elapsed());
    assert_eq!((left.in_journal, left.in_memory), (4, 0));
    let said = left.to_string();
    assert!(
        said.contains("4 are in the journal, for its next user"),
        "{said}"
    );
}

/// What was carried on and waits to be confirmed is in the journal as well, and not left.
#[test]
fn a_shutdown_counts_what_was_not_carried_on_and_nothing_else() {
    let mut setup = Setup::new(&[]);
    let auditor = setup.confirmed().confirm_after(LONG).build().unwrap();
    record(&auditor, 0..5);
    auditor.queue().settle(LONG).unwrap();
    assert_eq!(auditor.stats().journal.unwrap().unwrap().carried, 5);
    setup.server.kill9();
    record(&auditor, 5..8);
    let left = auditor.shutdown(Duration::from_millis(10)).unwrap_err();
    assert_eq!((left.in_journal, left.in_memory), (3, 0), "{left}");
    assert_eq!(in_journal(&auditor), 8);
}

/// An application that has set up `log` and knows nothing of `tracing`.
#[test]
#[ignore = "a child process of another test"]
fn an_application_with_log_alone() {
    struct Stderr;
    impl log::Log for Stderr {
        fn enabled(&self, _: &log::Metadata<'_>) -> bool {
            true
        }
        fn log(&self, record: &log::Record<'_>) {
            let said = format!("{} {}\n", record.level(), record.args());
            std::io::stderr().write_all(said.as_bytes()).unwrap();
        }
        fn flush(&self) {}
    }
    log::set_logger(&Stderr).unwrap();
    log::set_max_level(log::LevelFilter::Info);
    let folder = tempfile::tempdir().unwrap();
    let auditor = Auditor::builder()
        .redis_queue(list("redis://127.0.0.1:1/", GRACE))
        .journal(folder.path().join("journal.db"))
        .build()
        .unwrap();
    record(&auditor, 0..1);
    wait_until("the forwarder to fail", LONG, || {
        failing(&auditor.stats(), "audit-forwarder").is_some()
    });
}

#[test]
fn an_application_with_log_instead_of_tracing_sees_what_fails() {
    let args = [
        "status::an_application_with_log_alone",
        "--exact",
        "--ignored",
        "--nocapture",
    ];
    let mut child = Command::new(std::env::current_exe().unwrap());
    let output = child.args(args).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    let expected =
        "WARN cannot deliver audit records now; it tries again worker=\"audit-forwarder\"";
    assert!(said.contains(expected), "{said}");
}
