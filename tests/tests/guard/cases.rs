#[path = "cases/migrations.rs"]
mod migrations;
#[path = "cases/spellings.rs"]
mod spellings;

use std::panic::{AssertUnwindSafe, catch_unwind};

use audit_diesel::testing::TestAudit;
use audit_diesel::{AuditError, Auditor, GuardMode, Record, audited, exempt};
use audit_tests::app::{NewAccount, accounts};
use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use diesel::result::{Error, QueryResult};
use diesel::sql_query;

use super::{App, Conn, INSERT_HERE, WRITES_HERE, app, connect, corpus, fails_to_parse};
use crate::texts::{HARMLESS, WRITES};

/// An application, and a connection whose auditor guards its table.
struct Guarded {
    app: App,
    conn: Conn,
    audit: TestAudit,
}

fn guarded(mode: GuardMode) -> Guarded {
    let app = app();
    let settings = Auditor::builder().guard(["accounts"]).guard_mode(mode);
    let audit = TestAudit::of(settings);
    let mut conn = connect(&app);
    audit.auditor().attach(&mut conn);
    Guarded { app, conn, audit }
}

impl Guarded {
    fn records(&self) -> Vec<Record> {
        self.audit.committed()
    }

    /// The records' action, resource type and verb.
    fn traces(&self) -> Vec<String> {
        let trace = |record: &Record| {
            let verb = record.extra.get("verb").and_then(|verb| verb.as_str());
            let resource = record.resource_type.as_deref();
            format!(
                "{} {} {}",
                record.action,
                resource.unwrap_or("-"),
                verb.unwrap_or("-")
            )
        };
        self.records().iter().map(trace).collect()
    }

    fn emails(&self) -> Vec<String> {
        let mut conn = connect(&self.app);
        accounts::table
            .select(accounts::email)
            .order(accounts::id)
            .load(&mut conn)
            .unwrap()
    }
}

fn raw_insert(conn: &mut Conn) -> QueryResult<usize> {
    diesel::insert_into(accounts::table)
        .values(NewAccount::new("raw"))
        .execute(conn)
}

/// What the guard says when it stops this.
fn stopped(conn: &mut Conn, write: impl FnOnce(&mut Conn)) -> Option<String> {
    let panic = catch_unwind(AssertUnwindSafe(|| write(conn))).err()?;
    panic.downcast_ref::<String>().cloned()
}

#[test]
fn panic_mode_stops_a_raw_write_before_it_is_sent_and_says_what_to_write() {
    let mut guarded = guarded(GuardMode::Panic);
    let conn = &mut guarded.conn;
    let message = stopped(conn, |conn| drop(raw_insert(conn))).expect("it panics");
    assert_eq!(
        message,
        "a raw INSERT would write the audited table `accounts` without a record: write \
         `audited::insert_into(…)` instead, or wrap work that is nobody's action in \
         `audit_diesel::exempt(conn, \"reason\", |conn| …)`; the statement is: "
            .to_owned()
            + INSERT_HERE
    );
    for (write, verb) in [
        ("UPDATE accounts SET role = 'secret-value'", "UPDATE"),
        ("DELETE FROM accounts", "DELETE"),
        ("SELECT 1; DELETE FROM accounts", "DELETE"),
    ] {
        let message = stopped(conn, |conn| drop(conn.batch_execute(write))).expect(write);
        assert!(message.starts_with(&format!("a raw {verb} ")), "{message}");
        assert!(!message.contains("secret-value"), "{message}");
    }
    let message = stopped(conn, |conn| {
        let update = "UPDATE accounts -- secret-value\n SET role = 'secret-value', balance = 4711";
        drop(sql_query(update).execute(conn));
    });
    let shown = "; the statement is: UPDATE accounts SET role = ?, balance = ?";
    assert!(message.is_some_and(|message| message.ends_with(shown)));
    let message = stopped(conn, |conn| {
        drop(sql_query("UPDATE accounts SET balance = 1").execute(conn));
    });
    assert!(message.is_some());
    // The connection is as usable as before, and nothing was written.
    audited::insert_into(accounts::table)
        .values(NewAccount::new("ada"))
        .execute(conn)
        .unwrap();
    assert_eq!(guarded.emails(), ["ada"]);
    assert_eq!(guarded.traces(), ["insert accounts -"]);
}

/// A connection whose auditor guards tables that are not there: nothing gets as far as the table.
fn guarded_names() -> Conn {
    let mut conn = connect(&app());
    let settings = Auditor::builder().guard(["public.users", "auth.keys"]);
    let audit = TestAudit::of(settings.guard_mode(GuardMode::Panic));
    audit.auditor().attach(&mut conn);
    conn
}

#[test]
fn every_way_to_write_is_seen_in_sql_text() {
    let conn = &mut guarded_names();
    for (sql, expected) in WRITES.iter().chain(WRITES_HERE) {
        let (verb, table) = expected.split_once(' ').unwrap();
        let expected = format!("a raw {verb} would write the audited table `{table}` ");
        for message in [
            stopped(conn, |conn| drop(sql_query(*sql).execute(conn))),
            stopped(conn, |conn| drop(conn.batch_execute(sql))),
        ] {
            let message = message.unwrap_or_default();
            assert!(message.starts_with(&expected), "{sql}: {message:?}");
        }
    }
}

#[test]
fn what_is_written_is_told_from_what_is_mentioned_in_a_corpus_of_real_sql() {
    let conn = &mut guarded_names();
    let mut wrong = Vec::new();
    for (sql, expected) in corpus() {
        let begins = match expected.split_once(' ') {
            Some((verb, table)) if table.starts_with("audit_") => {
                format!("a raw {verb} would change what `{table}` says: ")
            }
            Some((verb, table)) => {
                format!("a raw {verb} would write the audited table `{table}` ")
            }
            None => String::new(),
        };
        for message in [
            stopped(conn, |conn| drop(sql_query(sql).execute(conn))),
            stopped(conn, |conn| drop(conn.batch_execute(sql))),
        ] {
            let message = message.unwrap_or_default();
            if !message.starts_with(&begins) || message.is_empty() != expected.is_empty() {
                wrong.push(format!("{sql}: {message:?}"));
            }
        }
    }
    assert_eq!(wrong, [""; 0]);
}

#[test]
fn the_corpus_is_sql_that_the_database_can_parse() {
    let app = app();
    let conn = &mut connect(&app);
    conn.batch_execute(
        "CREATE TABLE users (id integer PRIMARY KEY, a text, b text);
         CREATE TABLE other (id integer PRIMARY KEY, a text, b text);
         CREATE TABLE old (id integer PRIMARY KEY, a text, b text);
         CREATE VIEW v AS SELECT a FROM other;
         CREATE INDEX i ON users (a)",
    )
    .unwrap();
    let unknown: Vec<_> = corpus()
        .filter_map(|(sql, _)| fails_to_parse(conn, sql))
        .collect();
    assert_eq!(unknown, [""; 0]);
}

/// The trail is guarded though nobody has named it.
#[test]
fn raw_changes_of_the_trail_are_noticed_and_retention_says_its_reason() {
    let app = app();
    let settings = Auditor::builder().guard_mode(GuardMode::Record);
    let audit = TestAudit::of(settings);
    let conn = &mut connect(&app);
    audit.auditor().attach(conn);
    let id = "0190a0a0-0000-7000-8000-000000000000";
    conn.batch_execute(&format!(
        "INSERT INTO audit_quarantine (id, reason, payload) VALUES ('{id}', 'a test', '')"
    ))
    .unwrap();
    assert_eq!(audit.committed(), []);
    conn.batch_execute("UPDATE audit_quarantine SET reason = 'another'")
        .unwrap();
    conn.batch_execute("DELETE FROM audit_logs").unwrap();
    let trace = |record: &Record| {
        let table = record.resource_type.as_deref().unwrap_or_default();
        format!("{} {table} {}", record.action, record.extra["verb"])
    };
    let traces: Vec<_> = audit.committed().iter().map(trace).collect();
    let expected = [
        "unaudited_write audit_quarantine \"UPDATE\"",
        "unaudited_write audit_logs \"DELETE\"",
    ];
    assert_eq!(traces, expected);
    exempt(conn, "kept for a year", |conn| {
        sql_query("DELETE FROM audit_quarantine").execute(conn)
    })
    .unwrap();
    let last = audit.committed().pop().unwrap();
    assert_eq!(
        (last.action.as_str(), &last.extra["rows"]),
        ("exempt", &1.into())
    );
}

#[test]
fn what_writes_no_audited_table_raises_no_alarm() {
    let conn = &mut guarded_names();
    for sql in HARMLESS {
        // The tables are not there, so that most fail: what counts is that they are sent.
        let query = stopped(conn, |conn| drop(sql_query(*sql).execute(conn)));
        let batch = stopped(conn, |conn| drop(conn.batch_execute(sql)));
        assert_eq!((query, batch), (None, None), "{sql}");
    }
}

#[test]
fn record_mode_does_the_write_and_leaves_table_and_verb() {
    let mut guarded = guarded(GuardMode::Record);
    raw_insert(&mut guarded.conn).unwrap();
    guarded
        .conn
        .batch_execute("UPDATE accounts SET role = 'secret-value'")
        .unwrap();
    assert_eq!(guarded.emails(), ["raw"]);
    assert_eq!(
        guarded.traces(),
        [
            "unaudited_write accounts INSERT",
            "unaudited_write accounts UPDATE"
        ]
    );
    assert_eq!(guarded.audit.auditor().stats().unaudited_writes, 2);
    for record in guarded.records() {
        assert!(record.changes.is_none() && record.resource_id.is_none());
        assert!(!format!("{record:?}").contains("secret-value"));
    }
}

#[test]
fn a_trace_belongs_to_its_transaction() {
    let mut guarded = guarded(GuardMode::Record);
    let undone = guarded.conn.transaction(|conn| {
        raw_insert(conn)?;
        Err::<(), _>(Error::RollbackTransaction)
    });
    assert_eq!(undone, Err(Error::RollbackTransaction));
    assert_eq!(guarded.traces(), [""; 0]);

    guarded
        .conn
        .transaction(|conn| {
            audited::insert_into(accounts::table)
                .values(NewAccount::new("ada"))
                .execute(conn)?;
            raw_insert(conn)
        })
        .unwrap();
    assert_eq!(
        guarded.traces(),
        ["insert accounts -", "unaudited_write accounts INSERT"]
    );
    let records = guarded.records();
    let ids: Vec<_> = records
        .iter()
        .map(|record| record.transaction.unwrap().id)
        .collect();
    assert_eq!(ids[0], ids[1]);
}

#[test]
fn a_raw_write_that_fails_leaves_no_trace() {
    let mut guarded = guarded(GuardMode::Record);
    raw_insert(&mut guarded.conn).unwrap();
    raw_insert(&mut guarded.conn).unwrap_err();
    assert_eq!(guarded.traces().len(), 1);
}

#[test]
fn off_sees_nothing_and_reads_raise_no_alarm() {
    let mut off = guarded(GuardMode::Off);
    raw_insert(&mut off.conn).unwrap();
    assert_eq!(off.traces(), [""; 0]);

    let mut panics = guarded(GuardMode::Panic);
    let conn = &mut panics.conn;
    accounts::table
        .select(accounts::email)
        .load::<String>(conn)
        .unwrap();
    sql_query("SELECT 'UPDATE accounts' AS x")
        .execute(conn)
        .unwrap();
    conn.batch_execute("CREATE TABLE accounts_archive (id integer)")
        .unwrap();
    conn.batch_execute("INSERT INTO accounts_archive SELECT id FROM accounts")
        .unwrap();
    // A write of ours through every kind of statement.
    audited::insert_into(accounts::table)
        .values(vec![NewAccount::new("ada"), NewAccount::new("bob")])
        .execute(conn)
        .unwrap();
    audited::update(accounts::table)
        .set(accounts::balance.eq(1))
        .execute(conn)
        .unwrap();
    audited::delete(accounts::table).execute(conn).unwrap();
    assert_eq!(panics.records().len(), 6);
}

/// A transaction that raw SQL has opened is not the block's to commit.
#[test]
fn an_exempt_block_in_a_raw_transaction_is_a_savepoint_of_it() {
    let mut guarded = guarded(GuardMode::Panic);
    let conn = &mut guarded.conn;
    conn.batch_execute("BEGIN").unwrap();
    exempt(conn, "kept", raw_insert).unwrap();
    let failed = exempt(conn, "fails", |conn| {
        diesel::delete(accounts::table).execute(conn)?;
        Err::<(), _>(Error::RollbackTransaction)
    });
    assert_eq!(failed, Err(Error::RollbackTransaction));
    assert_eq!(guarded.audit.committed(), []);
    guarded.conn.batch_execute("COMMIT").unwrap();
    assert_eq!(guarded.emails(), ["raw"]);
    assert_eq!(guarded.traces(), ["exempt - -"]);

    let conn = &mut guarded.conn;
    conn.batch_execute("BEGIN").unwrap();
    exempt(conn, "taken back", |conn| {
        diesel::delete(accounts::table).execute(conn)
    })
    .unwrap();
    conn.batch_execute("ROLLBACK").unwrap();
    assert_eq!(guarded.emails(), ["raw"]);
    assert_eq!(guarded.traces(), ["exempt - -"]);
}

#[test]
fn an_exempt_block_leaves_one_summary() {
    let mut guarded = guarded(GuardMode::Panic);
    let conn = &mut guarded.conn;
    let rows = exempt(conn, "backfill", |conn| {
        raw_insert(conn)?;
        diesel::update(accounts::table)
            .set(accounts::balance.eq(7))
            .execute(conn)
    })
    .unwrap();
    assert_eq!(rows, 1);
    let records = guarded.records();
    assert_eq!(records.len(), 1);
    assert_eq!(records[0].action, "exempt");
    let extra = serde_json::to_value(&records[0].extra).unwrap();
    assert_eq!(
        extra,
        serde_json::json!({"reason": "backfill", "statements": 2, "rows": 2})
    );
    assert!(stopped(&mut guarded.conn, |conn| drop(raw_insert(conn))).is_some());
}

#[test]
fn exempt_blocks_nest_into_one_summary_and_keep_inner_transactions() {
    let mut guarded = guarded(GuardMode::Panic);
    exempt(&mut guarded.conn, "outer", |conn| {
        raw_insert(conn)?;
        exempt(conn, "inner", |conn| {
            conn.transaction(|conn| {
                diesel::update(accounts::table)
                    .set(accounts::balance.eq(1))
                    .execute(conn)
            })
        })
    })
    .unwrap();
    let records = guarded.records();
    assert_eq!(records.len(), 1);
    assert_eq!(records[0].extra["reason"], "outer");
    assert_eq!(records[0].extra["statements"], 2);
    assert_eq!(records[0].extra["rows"], 2);
}

#[test]
fn a_block_that_fails_or_panics_is_undone_and_ends() {
    let mut guarded = guarded(GuardMode::Panic);
    let conn = &mut guarded.conn;
    let failed = exempt(conn, "fails", |conn| {
        raw_insert(conn)?;
        Err::<(), _>(Error::RollbackTransaction)
    });
    assert_eq!(failed, Err(Error::RollbackTransaction));
    let panicked = catch_unwind(AssertUnwindSafe(|| {
        exempt(conn, "panics", |_| -> QueryResult<()> {
            panic!("as asked")
        })
    }));
    assert!(panicked.is_err());
    // Diesel leaves the transaction of a panicking closure open.
    conn.batch_execute("ROLLBACK").unwrap();
    assert!(stopped(conn, |conn| drop(raw_insert(conn))).is_some());
    assert_eq!(guarded.emails(), [""; 0]);
    assert_eq!(guarded.traces(), [""; 0]);
}

#[test]
fn a_block_without_reason_or_auditor_does_not_run() {
    let mut guarded = guarded(GuardMode::Panic);
    let refused = exempt(&mut guarded.conn, " ", |_| -> QueryResult<()> {
        unreachable!()
    });
    let refused = refused.unwrap_err();
    assert!(
        matches!(AuditError::of(&refused), Some(AuditError::NoReason)),
        "{refused}"
    );

    let mut bare = connect(&guarded.app);
    let refused = exempt(&mut bare, "why", |_| -> QueryResult<()> { unreachable!() }).unwrap_err();
    assert!(
        matches!(AuditError::of(&refused), Some(AuditError::NoAuditor)),
        "{refused}"
    );
}
