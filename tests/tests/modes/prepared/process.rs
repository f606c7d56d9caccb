//! This test binary again, as the process of an application that is killed.

use std::io::{BufRead, BufReader, stdin};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use audit_diesel::{Auditor, Delivery, Journal};
use audit_tests::pg_pool;
use diesel::prelude::*;
use serde::{Deserialize, Serialize};

use super::programs::Program;
use super::setup::{Conn, LONG, Setup, insert};
use super::{crashes, programs};

const PART: &str = "AUDIT_TEST_PREPARED_PART";
const DATABASE: &str = "AUDIT_TEST_PREPARED_DATABASE";
const JOURNAL: &str = "AUDIT_TEST_PREPARED_JOURNAL";

/// What the process does.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Part {
    /// Inserts an account, and ends.
    Insert(String),
    /// Writes on several connections, under this name, until it is killed.
    Write(String),
    /// Runs each on a connection of its own.
    Programs(Vec<Program>),
}

/// Another process, which is killed when this is dropped.
pub(super) struct Process(Child);

impl Process {
    pub(super) fn start(setup: &Setup, part: &Part) -> Self {
        let child = Command::new(std::env::current_exe().unwrap())
            .args([
                "prepared::process::child",
                "--exact",
                "--ignored",
                "--nocapture",
            ])
            .env(PART, serde_json::to_string(part).unwrap())
            .env(DATABASE, setup.app.guard.url())
            .env(JOURNAL, setup.journal_path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn();
        Self(child.unwrap())
    }

    /// Waits until the process says that it is ready.
    pub(super) fn ready(&mut self) {
        let lines = BufReader::new(self.0.stdout.take().unwrap()).lines();
        let (said, says) = mpsc::channel();
        thread::spawn(move || {
            let mut lines = lines.map_while(Result::ok);
            let _ = said.send(lines.any(|line| line.contains("ready")));
        });
        assert_eq!(says.recv_timeout(LONG), Ok(true), "it did not start");
    }

    /// Lets a process go on that is ready: it reads that there is nothing more to read.
    pub(super) fn go_on(&mut self) {
        drop(self.0.stdin.take());
    }

    /// Waits for its end, and says whether that was in order.
    pub(super) fn has_ended_well(mut self) -> bool {
        self.go_on();
        self.0.wait().unwrap().success()
    }

    pub(super) fn kill(self) {
        drop(self);
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
#[ignore = "it is the process that the other tests kill"]
fn child() {
    let Ok(part) = std::env::var(PART) else {
        return;
    };
    let part: Part = serde_json::from_str(&part).unwrap();
    let url = std::env::var(DATABASE).unwrap();
    let journal = Journal::builder(PathBuf::from(std::env::var_os(JOURNAL).unwrap()));
    let journal = match part {
        // These shall not wait long for a journal that cannot be written.
        Part::Programs(_) => journal.busy_timeout(Duration::from_millis(100)),
        _ => journal,
    };
    let auditor = auditor(&url, journal.open().unwrap());
    let connect = || {
        let mut conn = Conn::establish(&url).unwrap();
        auditor.attach(&mut conn);
        conn
    };
    match part {
        Part::Insert(email) => {
            let mut conn = connect();
            println!("ready");
            insert(&mut conn, &email).unwrap();
        }
        Part::Write(name) => {
            let connections = (0..3).map(|_| connect()).collect();
            println!("ready");
            crashes::write_on(connections, &name);
        }
        Part::Programs(all) => {
            let running = all.into_iter().enumerate().map(|(number, program)| {
                let mut conn = connect();
                programs::run(&auditor, &mut conn, number, &program);
                (conn, program)
            });
            let running: Vec<_> = running.collect();
            println!("ready");
            stdin().read_line(&mut String::new()).unwrap();
            programs::end(running);
        }
    }
}

fn auditor(url: &str, journal: Journal) -> Auditor {
    Auditor::builder()
        .journal_queue(journal)
        .confirm_in(pg_pool(url))
        .delivery(Delivery::Prepared)
        .build()
        .unwrap()
}
