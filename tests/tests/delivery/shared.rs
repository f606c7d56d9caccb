//! Several processes share a journal.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use audit_diesel::{AuditEvent, Auditor, Queue, Record};
use audit_tests::{send_signal, wait_until};

use super::support::*;

const URL: &str = "AUDIT_TEST_CHILD_DATABASE";
const REDIS: &str = "AUDIT_TEST_CHILD_REDIS";
const JOURNAL: &str = "AUDIT_TEST_CHILD_JOURNAL";

const RECORDS: &str = "AUDIT_TEST_CHILD_RECORDS";

/// Not a test of its own: it records so many events, and waits until it is killed.
#[test]
#[ignore = "a child process of other tests"]
fn child() {
    let [Ok(url), Ok(redis), Ok(journal), Ok(records)] =
        [URL, REDIS, JOURNAL, RECORDS].map(std::env::var)
    else {
        return;
    };
    let auditor = Auditor::builder()
        .redis_queue(list(&redis, LONG))
        .journal(journal)
        .confirm_in(audit_tests::pg_pool(&url))
        .confirm_after(GRACE)
        .build()
        .unwrap();
    for n in 0..records.parse::<usize>().unwrap() {
        let name = format!("{}.{n}", std::process::id());
        auditor.record(AuditEvent::new(&*name)).unwrap();
        println!("recorded {name}");
    }
    auditor.queue().settle(LONG).unwrap();
    println!("carried");
    loop {
        std::thread::park();
    }
}

fn spawn(setup: &Setup, records: usize) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["shared::child", "--exact", "--ignored", "--nocapture"])
        .env(URL, setup.app.guard.url())
        .env(REDIS, setup.server.url())
        .env(RECORDS, records.to_string())
        .env(JOURNAL, setup.path())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

/// What a child recorded before it was killed, which is after so many records.
fn killed_after(mut child: Child, records: usize) -> Vec<String> {
    let mut names = Vec::new();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    for line in lines.map_while(Result::ok) {
        names.extend(line.rsplit_once("recorded ").map(|(_, n)| n.to_owned()));
        if names.len() == records {
            child.kill().unwrap();
        }
    }
    child.wait().unwrap();
    assert!(names.len() >= records, "it ended by itself");
    names
}

#[test]
fn records_of_processes_that_died_are_carried_on_by_the_others_and_once() {
    let setup = Setup::new(&[]);
    let auditor = setup.confirmed().build().unwrap();
    let consumer = setup.consumer();
    let mut acknowledged = Vec::new();
    for records in [1, 40, 400] {
        let children = [(); 2].map(|()| spawn(&setup, usize::MAX));
        for child in children {
            acknowledged.extend(killed_after(child, records));
        }
    }
    setup.wait_for_an_empty_journal();
    let mut stored = setup.stored();
    let rows = stored.len();
    stored.sort();
    stored.dedup();
    assert_eq!(stored.len(), rows, "each once");
    for name in acknowledged {
        assert!(stored.binary_search(&name).is_ok(), "{name}");
    }
    // Each death can cost what was under way then: no more is carried twice.
    let stats = consumer.stats();
    assert!(stats.duplicates <= 6 * 500, "{stats:?}");
    drop(auditor);
}

#[test]
fn several_auditors_carry_a_journal_on_once() {
    // Who is suspended in the middle of a push loses the journal to another one and pushes all the
    // same, as a thread may be for seconds on a busy machine.
    let duplicates = (0..3).map(|_| duplicates_of_three_auditors());
    assert!(duplicates.into_iter().any(|duplicates| duplicates == 0));
}

fn duplicates_of_three_auditors() -> u64 {
    let setup = Setup::new(&[]);
    let auditors = [(); 3].map(|()| {
        let builder = Auditor::builder().redis_queue(setup.list());
        builder.journal(setup.path()).build().unwrap()
    });
    let consumer = setup.consumer();
    for n in 0..900 {
        record(&auditors[n % 3], n..n + 1);
    }
    setup.wait_for(900);
    setup.wait_for_an_empty_journal();
    consumer.flush().unwrap();
    let stats = consumer.stats();
    assert_eq!(stats.stored, 900, "{stats:?}");
    stats.duplicates
}

/// The one that carries the journal is suspended, as in a debugger: another one takes over.
#[test]
fn a_process_that_is_suspended_holds_nobody_up() {
    let setup = Setup::new(&[]);
    let mut child = spawn(&setup, 1);
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut lines = lines.map_while(Result::ok);
    assert!(lines.any(|line| line == "carried"), "it ended by itself");
    assert!(send_signal("STOP", &[child.id()]));
    let auditor = setup.confirmed().build().unwrap();
    record(&auditor, 0..1);
    // Beside the child's, which is there twice where the child could not note that it carried it.
    wait_until("mine to be carried", LONG, || {
        let carried = setup.list().peek(10).unwrap().payloads;
        let records = carried
            .iter()
            .map(|p| Record::decode(p.as_bytes()).unwrap());
        records.into_iter().any(|record| record.action == "n.0")
    });
    child.kill().unwrap();
    child.wait().unwrap();
}

/// One process cannot reach Redis and must not keep the journal from one that can.
#[test]
fn a_process_that_cannot_reach_redis_leaves_it_to_the_others() {
    let setup = Setup::new(&[]);
    let astray = Auditor::builder()
        .redis_queue(list("redis://127.0.0.1:1/", LONG))
        .journal(setup.path())
        .build()
        .unwrap();
    record(&astray, 0..20);
    let auditor = setup.confirmed().build().unwrap();
    record(&auditor, 20..40);
    let _consumer = setup.consumer();
    setup.wait_for(40);
    drop(astray);
    setup.wait_for_an_empty_journal();
}
