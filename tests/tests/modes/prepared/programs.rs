//! Transactions with savepoints, whose process is killed while the server commits them: what was
//! rolled back to a savepoint last could not be noted.

use std::thread;

use audit_diesel::{AuditEvent, AuditLog, Auditor, audited};
use audit_tests::app::accounts;
use audit_tests::wait_until;
use diesel::connection::{AnsiTransactionManager, SimpleConnection, TransactionManager};
use diesel::dsl::sql;
use diesel::prelude::*;
use diesel::sql_types::Text;
use serde::{Deserialize, Serialize};

use super::process::{Part, Process};
use super::setup::{Conn, HANG_IN_COMMIT, LONG, Setup, holds, insert, quarantined, trail};

/// A transaction.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Program {
    /// While the journal can be written.
    pub(super) steps: Vec<Step>,
    /// When it cannot any more: SQL texts, each sent at once.
    pub(super) end: Vec<String>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) enum Step {
    Insert,
    /// Which of the rows; several where there is none of that number.
    Update(usize),
    Delete(usize),
    /// Locks a row in the part of the transaction that is open then.
    Lock(usize),
    Event,
    /// An event, and an exempt block in a savepoint of its own.
    Exempt,
    /// Transaction control, and what fails.
    Sql(String),
}

/// The rows that a program finds.
const ROWS: usize = 3;

/// What was kept, as the database itself tells.
const TELL: &str = "
    CREATE TABLE kept (what text NOT NULL);
    CREATE FUNCTION tell() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        INSERT INTO kept VALUES (concat_ws(' ', lower(TG_OP), coalesce(NEW.id, OLD.id),
                                           coalesce(NEW.balance, OLD.balance)));
        RETURN NULL;
    END $$;
    CREATE TRIGGER tell AFTER INSERT OR UPDATE OR DELETE ON accounts
        FOR EACH ROW EXECUTE FUNCTION tell();
";

fn email(program: usize, row: usize) -> String {
    format!("{program}.{row}")
}

/// Runs the steps. Errors are swallowed: what counts is what the database does.
pub(super) fn run(auditor: &Auditor, conn: &mut Conn, number: usize, program: &Program) {
    conn.batch_execute("SET application_name = 'program'")
        .unwrap();
    AnsiTransactionManager::begin_transaction(conn).unwrap();
    // COMMIT waits for what was inserted.
    insert(conn, &email(number, 1_000)).unwrap();
    for (place, step) in program.steps.iter().enumerate() {
        let _ = match step {
            Step::Insert => insert(conn, &email(number, 1_001 + place)),
            Step::Update(row) if *row < ROWS => audited::update(accounts::table)
                .filter(accounts::email.eq(email(number, *row)))
                .set(accounts::balance.eq(accounts::balance + 1))
                .execute(conn),
            Step::Update(_) => audited::update(accounts::table)
                .filter(accounts::email.like(format!("{number}.%")))
                .set(accounts::balance.eq(accounts::balance + 1))
                .execute(conn),
            Step::Delete(row) => audited::delete(accounts::table)
                .filter(accounts::email.eq(email(number, *row)))
                .execute(conn),
            Step::Lock(row) => accounts::table
                .filter(accounts::email.eq(email(number, *row)))
                .select(accounts::id)
                .for_update()
                .execute(conn),
            Step::Event => event(auditor, conn, &format!("event.{number}.{place}")),
            Step::Exempt => exempt(conn, &format!("{number}.{place}")),
            Step::Sql(text) => conn.batch_execute(text).map(|()| 0),
        };
    }
}

/// The savepoint may have written nothing before.
fn event(auditor: &Auditor, conn: &mut Conn, action: &str) -> QueryResult<usize> {
    if auditor.record_in(conn, AuditEvent::new(action)).is_err() {
        return Ok(0);
    }
    tell(conn, action)
}

fn exempt(conn: &mut Conn, reason: &str) -> QueryResult<usize> {
    audit_diesel::exempt(conn, reason, |conn| {
        diesel::update(accounts::table.filter(accounts::email.eq("nobody")))
            .set(accounts::balance.eq(1))
            .execute(conn)
    })?;
    tell(conn, &format!("exempt {reason}"))
}

fn tell(conn: &mut Conn, what: &str) -> QueryResult<usize> {
    diesel::sql_query("INSERT INTO kept VALUES ($1)")
        .bind::<Text, _>(what)
        .execute(conn)
}

/// Ends all of them at the same time, and comes back when the server has.
pub(super) fn end(running: Vec<(Conn, Program)>) {
    thread::scope(|threads| {
        for (mut conn, program) in running {
            threads.spawn(move || {
                for text in &program.end {
                    let _ = conn.batch_execute(text);
                }
                std::mem::forget(conn);
            });
        }
    });
}

/// Whether all were told to commit, and either wait in it or are done.
const ALL_END: &str = "NOT EXISTS (SELECT FROM pg_stat_activity
    WHERE datname = current_database() AND application_name = 'program'
    AND (query NOT LIKE '%COMMIT' OR state = 'active' AND wait_event IS DISTINCT FROM 'advisory'))";

const NONE_IS_LEFT: &str = "NOT EXISTS (SELECT FROM pg_stat_activity
    WHERE datname = current_database() AND application_name = 'program')";

/// What was kept, and how many records were in the journal when the process was dead.
pub(super) struct Crash {
    pub(super) kept: Vec<String>,
    pub(super) left: usize,
}

/// As [`crash_on`], on an ordinary table.
pub(super) fn crash(programs: Vec<Program>) -> Crash {
    crash_on(None, programs)
}

/// Makes of the table what `shape` says, runs the programs, ends them while the journal cannot be written, kills the process while the
/// server commits them, and asserts that the trail is what was kept.
pub(super) fn crash_on(shape: Option<&str>, programs: Vec<Program>) -> Crash {
    let setup = Setup::new();
    let admin = &mut setup.app.guard.connection();
    for program in 0..programs.len() {
        for row in 0..ROWS {
            diesel::insert_into(accounts::table)
                .values((
                    accounts::email.eq(email(program, row)),
                    accounts::api_token.eq("token"),
                ))
                .execute(admin)
                .unwrap();
        }
    }
    admin.batch_execute(TELL).unwrap();
    admin.batch_execute(HANG_IN_COMMIT).unwrap();
    if let Some(shape) = shape {
        admin.batch_execute(shape).unwrap();
    }
    let mut holder = setup.app.guard.connection();
    holder.batch_execute("SELECT pg_advisory_lock(1)").unwrap();
    let mut child = Process::start(&setup, &Part::Programs(programs));
    child.ready();
    let lock = setup.lock_journal();
    child.go_on();
    wait_until("all are told to commit", LONG, || holds(admin, ALL_END));
    child.kill();
    drop(lock);
    let left = setup.prepared() as usize;
    drop(holder);
    wait_until("the server has done it", LONG, || {
        holds(admin, NONE_IS_LEFT)
    });
    let auditor = setup.auditor();
    setup.wait_until_settled();
    setup.consume(&auditor);
    let kept = diesel::select(sql::<Text>("what FROM kept")).load(admin);
    let mut kept: Vec<String> = kept.unwrap();
    kept.sort();
    let mut recorded = recorded(admin);
    recorded.sort();
    assert_eq!(recorded, kept, "the trail, and what was kept");
    assert_eq!(quarantined(admin), [""; 0]);
    assert_eq!(setup.journal().bytes().unwrap(), 0, "room was given back");
    Crash { kept, left }
}

/// The trail, in the words of the database.
fn recorded(conn: &mut Conn) -> Vec<String> {
    let rows: Vec<AuditLog> = trail::audit_logs::table
        .select(AuditLog::as_select())
        .load(conn)
        .unwrap();
    rows.iter().map(line).collect()
}

fn line(row: &AuditLog) -> String {
    let Some(changes) = &row.changes else {
        let reason = row
            .extra
            .as_ref()
            .and_then(|extra| extra["reason"].as_str());
        let words = [Some(row.action.as_str()), reason];
        return words.into_iter().flatten().collect::<Vec<_>>().join(" ");
    };
    let balance = &changes["balance"];
    let side = if row.action == "delete" { "old" } else { "new" };
    let id = row.resource_id.as_deref().unwrap();
    format!("{} {id} {}", row.action, balance[side])
}
