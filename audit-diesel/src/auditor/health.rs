//! What is wrong at the moment, told from how the queue fares and from what was counted.

use std::time::Duration;

use audit_core::{Backlog, QueueStatus, Warning};

use super::AuditorStats;
use crate::consumer::health::of_worker;

/// The longest that a record waits in a journal while all is well: the consumer's interval, which
/// is half a minute unless said, and the time that Redis and the database are given, several times
/// over.
const LONG_IN_JOURNAL: Duration = Duration::from_secs(300);

/// What somebody should look at.
pub(super) fn warnings(stats: &AuditorStats, status: &QueueStatus) -> Vec<Warning> {
    let mut warnings: Vec<_> = status.workers.iter().filter_map(of_worker).collect();
    warnings.extend(match &status.journal {
        Some(Ok(backlog)) => of_journal(backlog),
        Some(Err(error)) => Some(Warning::new(
            "the journal",
            format!("cannot be read: {error}"),
            "records wait in memory meanwhile, and are lost if the process ends",
        )),
        None => None,
    });
    warnings.extend(status.memory.as_ref().and_then(of_memory));
    warnings.extend(of_lost(stats.failed + stats.dropped));
    warnings.extend(of_nobody(stats.without_actor));
    warnings.extend(of_detached(stats.detached));
    warnings.extend(of_left(stats.left));
    warnings.extend(of_panics(stats.panics));
    warnings
}

fn of_journal(backlog: &Backlog) -> Option<Warning> {
    let age = backlog.oldest.filter(|age| *age >= LONG_IN_JOURNAL)?;
    let (records, bytes, minutes) = (backlog.records, backlog.bytes, age.as_secs() / 60);
    Some(Warning::new(
        "the journal",
        format!(
            "holds {records} records of {bytes} bytes together, the oldest for {minutes} minutes: \
             they are not carried on, or not found in the database"
        ),
        "see whether Redis can be reached, whether a consumer runs and stores, and whether the pool \
         of `confirm_in` may read `audit_logs` and `audit_quarantine`",
    ))
}

fn of_memory(backlog: &Backlog) -> Option<Warning> {
    (backlog.records > 0).then(|| {
        Warning::new(
            "the memory of this process",
            format!(
                "holds {} records that nobody else has taken",
                backlog.records
            ),
            "see that Redis, or the journal, takes records again before the process ends",
        )
    })
}

fn of_lost(records: u64) -> Option<Warning> {
    (records > 0).then(|| {
        Warning::new(
            "the auditor",
            format!("has lost {records} records since it was built"),
            "the log says of each why; give it a journal with enough room",
        )
    })
}

fn of_nobody(times: u64) -> Option<Warning> {
    (times > 0).then(|| {
        Warning::new(
            "the audit trail",
            format!("does not say who acted: {times} statements and events ran without an actor"),
            "put a context in force around each request and job with `scope` or `attach_to`, carry it \
             into other threads with `wrap`, and let `.require_context()` on the builder refuse the rest",
        )
    })
}

fn of_detached(connections: u64) -> Option<Warning> {
    (connections > 0).then(|| {
        Warning::new(
            "the audit trail",
            format!(
                "lacks what {connections} connections did: `set_instrumentation` has taken the auditor \
                 from them"
            ),
            "use `auditor.attach_chained(&mut conn, Some(…))` to add another instrumentation",
        )
    })
}

fn of_left(records: u64) -> Option<Warning> {
    (records > 0).then(|| {
        Warning::new(
            "the audit trail",
            format!(
                "may lack {records} records whose connection was closed, or got another instrumentation, \
                 inside of a transaction: nobody can be asked whether that was committed"
            ),
            "call `set_instrumentation` before the auditor is attached, or use `attach_chained`; end \
             transactions before their connection",
        )
    })
}

fn of_panics(panics: u64) -> Option<Warning> {
    (panics > 0).then(|| {
        Warning::new(
            "a queue",
            format!("has panicked {panics} times: its records wait, or were counted as lost"),
            "it is a defect: the log says in which call, and with which words",
        )
    })
}

#[cfg(test)]
#[expect(clippy::panic, reason = "tests")]
mod tests {
    use std::time::SystemTime;

    use audit_core::{QueueError, WorkerState, WorkerStatus};

    use super::*;

    fn said(status: &QueueStatus) -> String {
        let warnings = warnings(&AuditorStats::default(), status);
        let texts = warnings.iter().map(ToString::to_string);
        texts.collect::<Vec<_>>().join("\n")
    }

    fn with(change: impl FnOnce(&mut QueueStatus)) -> String {
        let mut status = QueueStatus::default();
        change(&mut status);
        said(&status)
    }

    fn backlog(records: u64, age: u64) -> Backlog {
        let mut backlog = Backlog::default();
        backlog.records = records;
        backlog.oldest = Some(Duration::from_secs(age));
        backlog
    }

    #[test]
    fn records_without_an_actor_are_named_with_what_to_do() {
        let stats = AuditorStats {
            without_actor: 3,
            ..AuditorStats::default()
        };
        let warnings = warnings(&stats, &QueueStatus::default());
        assert_eq!(warnings.len(), 1);
        let said = warnings[0].to_string();
        assert!(
            said.contains("3 statements and events ran without an actor"),
            "{said}"
        );
        assert!(said.contains("`.require_context()`"), "{said}");
    }

    #[test]
    fn nothing_is_said_of_what_works() {
        let said = with(|status| {
            let runs = WorkerStatus::new("audit-forwarder", WorkerState::Running);
            status.workers.push(runs);
            status.journal = Some(Ok(backlog(7, 299)));
            status.memory = Some(Backlog::default());
        });
        assert_eq!(said, "");
    }

    #[test]
    fn a_thread_that_fails_or_has_ended_is_named_with_the_reason() {
        let failing = WorkerState::Failing {
            since: SystemTime::now(),
            reason: "no route to host".to_owned(),
        };
        for (state, expected) in [
            (failing, "failing for 0 s: no route to host"),
            (WorkerState::Stopped, "has stopped"),
        ] {
            let said = with(|status| {
                status
                    .workers
                    .push(WorkerStatus::new("audit-confirmer", state));
            });
            assert!(said.starts_with("the thread audit-confirmer has"), "{said}");
            assert!(said.contains(expected), "{said}");
        }
    }

    #[test]
    fn a_journal_whose_oldest_record_waits_for_minutes_is_named() {
        let said = with(|status| status.journal = Some(Ok(backlog(7, 421))));
        assert!(said.contains("holds 7 records"), "{said}");
        assert!(said.contains("for 7 minutes"), "{said}");
    }

    #[test]
    fn a_journal_that_cannot_be_read_and_records_in_memory_are_named() {
        let error = QueueError::Unavailable {
            queue: "the journal".to_owned(),
            reason: "disk I/O error".to_owned(),
        };
        let said = with(|status| {
            status.journal = Some(Err(error));
            status.memory = Some(backlog(3, 0));
        });
        assert!(said.contains("disk I/O error"), "{said}");
        assert!(said.contains("holds 3 records"), "{said}");
    }

    #[test]
    fn connections_without_their_auditor_and_panics_are_named_with_what_to_do() {
        let mut stats = AuditorStats::default();
        (stats.detached, stats.left, stats.panics) = (2, 4, 3);
        let found = warnings(&stats, &QueueStatus::default());
        let said: Vec<_> = found.iter().map(ToString::to_string).collect();
        let [detached, left, panics] = &said[..] else {
            panic!("{said:?}");
        };
        assert!(detached.contains("2 connections"), "{detached}");
        assert!(detached.contains("attach_chained"), "{detached}");
        assert!(left.contains("4 records"), "{left}");
        assert!(panics.contains("panicked 3 times"), "{panics}");
    }

    #[test]
    fn records_that_were_lost_stay_named() {
        let mut stats = AuditorStats::default();
        (stats.failed, stats.dropped) = (2, 3);
        let found = warnings(&stats, &QueueStatus::default());
        assert!(found[0].problem.contains("lost 5 records"), "{found:?}");
    }
}
