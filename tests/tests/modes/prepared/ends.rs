//! Transactions that end while the process lives.

use audit_diesel::{
    AuditError, AuditEvent, Auditor, ConfigError, Delivery, Journal, QueueError, audited,
};
use audit_tests::app::{accounts, sqlite};
use audit_tests::pg_pool;
use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use diesel::result::Error;

use super::setup::{Conn, Setup, insert, recorded, trail};
use crate::support::{
    TABLES, assert_history_of_unknown_ticket, notes, payments, write_unknown_ticket,
};

const NO: Error = Error::RollbackTransaction;

#[test]
fn a_statement_outside_of_a_transaction() {
    let setup = Setup::new();
    let auditor = setup.auditor();
    let conn = &mut setup.connection(&auditor);
    insert(conn, "ada").unwrap();
    let rows: Vec<i64> = audited::update(accounts::table)
        .set(accounts::balance.eq(7))
        .returning(accounts::balance)
        .get_results(conn)
        .unwrap();
    assert_eq!(rows, [7]);
    insert(conn, "ada").unwrap_err();
    insert(conn, "grace").unwrap();
    assert_eq!(setup.prepared(), 0, "released at COMMIT");
    setup.assert_trail(&auditor, &["ada", "grace"]);
}

#[test]
fn a_row_that_its_model_cannot_read_is_in_the_history_of_its_key() {
    let setup = Setup::new();
    let auditor = setup.auditor();
    let conn = &mut setup.connection(&auditor);
    conn.batch_execute(TABLES).unwrap();
    write_unknown_ticket!(conn);
    setup.consume(&auditor);
    assert_history_of_unknown_ticket!(trail::history("tickets", 1).load(conn).unwrap());
}

#[test]
fn it_is_written_down_before_commit() {
    let setup = Setup::new();
    let auditor = setup.auditor();
    let conn = &mut setup.connection(&auditor);
    conn.transaction(|conn| {
        insert(conn, "ada")?;
        assert_eq!(setup.prepared(), 1);
        assert_eq!(auditor.pending(conn).unwrap().len(), 1);
        // However often PostgreSQL is asked meanwhile: it is in progress.
        std::thread::scope(|_| setup.consume(&auditor));
        assert_eq!(recorded(&mut setup.app.guard.connection()), [""; 0]);
        insert(conn, "grace")
    })
    .unwrap();
    setup.assert_trail(&auditor, &["ada", "grace"]);
}

/// A batch failed after its COMMIT, or before its BEGIN: no transaction is open, and PostgreSQL is
/// asked, so that the next statement is one.
#[test]
fn after_a_failed_batch() {
    let setup = Setup::new();
    let auditor = setup.auditor();
    let conn = &mut setup.connection(&auditor);
    conn.batch_execute("BEGIN").unwrap();
    insert(conn, "committed").unwrap();
    conn.batch_execute("COMMIT; SELECT * FROM nowhere")
        .unwrap_err();
    insert(conn, "next").unwrap();
    conn.batch_execute("BEGIN; SELEC 1").unwrap_err();
    insert(conn, "last").unwrap();
    setup.assert_trail(&auditor, &["committed", "next", "last"]);
}

#[test]
fn rolled_back() {
    let setup = Setup::new();
    let auditor = setup.auditor();
    let conn = &mut setup.connection(&auditor);
    conn.transaction(|conn| {
        insert(conn, "kept")?;
        let _ = conn.transaction(|conn| {
            insert(conn, "undone")?;
            insert(conn, "undone as well")?;
            assert_eq!(setup.prepared(), 3);
            Err::<(), _>(NO)
        });
        assert_eq!(setup.prepared(), 1, "taken back before COMMIT");
        insert(conn, "also kept")
    })
    .unwrap();
    let _ = conn.transaction(|conn| {
        insert(conn, "gone")?;
        Err::<(), _>(NO)
    });
    assert_eq!(setup.prepared(), 0);
    conn.batch_execute("BEGIN; SAVEPOINT a").unwrap();
    insert(conn, "raw").unwrap();
    conn.batch_execute("ROLLBACK TO a; COMMIT").unwrap();
    setup.assert_trail(&auditor, &["kept", "also kept"]);
}

/// The journal cannot be written while the savepoint is rolled back to.
#[test]
fn a_savepoint_that_could_not_be_taken_back_at_once() {
    for through in ["a statement", "COMMIT", "nothing"] {
        let setup = Setup::new();
        let journal = Journal::builder(setup.journal_path())
            .busy_timeout(std::time::Duration::from_secs(2))
            .open()
            .unwrap();
        let auditor = Auditor::builder()
            .journal_queue(journal)
            .confirm_in(pg_pool(&setup.app.guard.url()))
            .delivery(Delivery::Prepared)
            .build()
            .unwrap();
        let conn = &mut setup.connection(&auditor);
        conn.batch_execute("BEGIN").unwrap();
        insert(conn, "kept").unwrap();
        conn.batch_execute("SAVEPOINT a").unwrap();
        insert(conn, "undone").unwrap();
        let mut lock = setup.lock_journal();
        conn.batch_execute("ROLLBACK TO a").unwrap();
        if through != "nothing" {
            lock.batch_execute("ROLLBACK").unwrap();
        }
        if through == "a statement" {
            insert(conn, "afterwards").unwrap();
        }
        conn.batch_execute("COMMIT").unwrap();
        drop(lock);
        match through {
            "a statement" => setup.assert_trail(&auditor, &["kept", "afterwards"]),
            "COMMIT" => setup.assert_trail(&auditor, &["kept"]),
            // The journal came back after COMMIT only, and the process knows what was kept.
            _ => setup.assert_trail(&auditor, &["kept"]),
        }
    }
}

#[test]
fn a_swallowed_failure_makes_commit_a_rollback() {
    let setup = Setup::new();
    let auditor = setup.auditor();
    let conn = &mut setup.connection(&auditor);
    insert(conn, "ada").unwrap();
    let _ = conn.transaction::<_, Error, _>(|conn| {
        insert(conn, "grace")?;
        insert(conn, "ada").unwrap_err();
        Ok(())
    });
    conn.transaction::<_, Error, _>(|conn| {
        insert(conn, "edith")?;
        let _ = conn.transaction(|conn| insert(conn, "ada"));
        Ok(())
    })
    .unwrap();
    setup.assert_trail(&auditor, &["ada", "edith"]);
}

#[test]
fn a_commit_that_a_deferred_constraint_refuses() {
    let setup = Setup::new();
    let auditor = setup.auditor();
    let conn = &mut setup.connection(&auditor);
    conn.batch_execute(
        "ALTER TABLE accounts DROP CONSTRAINT accounts_email_key,
         ADD UNIQUE (email) DEFERRABLE INITIALLY DEFERRED",
    )
    .unwrap();
    insert(conn, "ada").unwrap();
    conn.transaction(|conn| insert(conn, "ada")).unwrap_err();
    insert(conn, "ada").unwrap_err();
    setup.assert_trail(&auditor, &["ada"]);
}

/// The only one of the two that says how it ended is PostgreSQL.
#[test]
fn a_transaction_that_is_prepared_for_two_phases() {
    let server = audit_tests::PostgresServer::start();
    let admin = audit_tests::TestDatabase::on(&server.url());
    admin
        .connection()
        .batch_execute("ALTER SYSTEM SET max_prepared_transactions = 5")
        .unwrap();
    let mut server = server;
    server.restart();
    let setup = Setup::of(super::setup::app_on(admin));
    let auditor = setup.auditor();
    let conn = &mut setup.connection(&auditor);
    for (email, end) in [("kept", "COMMIT"), ("gone", "ROLLBACK")] {
        conn.batch_execute("BEGIN").unwrap();
        insert(conn, email).unwrap();
        conn.batch_execute("PREPARE TRANSACTION 'two'").unwrap();
        assert_eq!(setup.prepared(), 1);
        conn.batch_execute(&format!("{end} PREPARED 'two'"))
            .unwrap();
        setup.wait_until_settled();
    }
    setup.assert_trail(&auditor, &["kept"]);
}

#[test]
fn events_and_exempt_blocks() {
    let setup = Setup::new();
    let auditor = setup.auditor();
    let conn = &mut setup.connection(&auditor);
    let event = || AuditEvent::new("report.made");
    auditor.record_in(conn, event()).unwrap();
    let _ = conn.transaction(|conn| {
        auditor.record_in(conn, event()).unwrap();
        assert_eq!(setup.prepared(), 1);
        Err::<(), _>(NO)
    });
    audit_diesel::exempt(conn, "a reason", |conn| {
        diesel::update(accounts::table)
            .set(accounts::balance.eq(1))
            .execute(conn)
    })
    .unwrap();
    setup.wait_until_settled();
    let actions: Vec<_> = auditor.queue().peek(10).unwrap().payloads;
    let actions: Vec<_> = actions
        .iter()
        .map(|p| audit_diesel::Record::decode(p.as_bytes()).unwrap().action)
        .collect();
    assert_eq!(actions, ["report.made", "exempt"]);
}

#[test]
fn a_journal_that_is_full_fails_the_statement() {
    let setup = Setup::new();
    let journal = Journal::builder(setup.journal_path())
        .max_bytes(2_000)
        .open()
        .unwrap();
    let auditor = Auditor::builder()
        .journal_queue(journal)
        .confirm_in(pg_pool(&setup.app.guard.url()))
        .delivery(Delivery::Prepared)
        .build()
        .unwrap();
    let conn = &mut setup.connection(&auditor);
    let mut kept = Vec::new();
    let error = loop {
        let email = format!("n.{}", kept.len());
        match insert(conn, &email) {
            Ok(_) => kept.push(email),
            Err(error) => break error,
        }
    };
    let is_full = |error: &Error| {
        matches!(
            AuditError::of(error),
            Some(AuditError::Queue(QueueError::Full { .. }))
        )
    };
    assert!(is_full(&error), "{error:?}");
    // Who swallows it keeps nothing either.
    let _ = conn.transaction::<_, Error, _>(|conn| {
        assert!(is_full(&insert(conn, "swallowed").unwrap_err()));
        Ok(())
    });
    let kept: Vec<&str> = kept.iter().map(String::as_str).collect();
    assert!(!kept.is_empty());
    setup.assert_trail(&auditor, &kept);
    insert(conn, "there is room again").unwrap();
}

#[test]
fn all_modes_in_one_transaction() {
    let setup = Setup::new();
    let auditor = setup.auditor();
    let conn = &mut setup.connection(&auditor);
    conn.batch_execute(TABLES).unwrap();
    let all = |conn: &mut Conn, id: i32| {
        insert(conn, &format!("n.{id}"))?;
        audited::insert_into(payments::table)
            .values((payments::id.eq(id), payments::amount.eq(1)))
            .execute(conn)?;
        audited::insert_into(notes::table)
            .values((notes::id.eq(id), notes::amount.eq(1)))
            .execute(conn)
    };
    conn.transaction(|conn| {
        all(conn, 1)?;
        let _ = conn.transaction(|conn| {
            all(conn, 2)?;
            Err::<(), _>(NO)
        });
        all(conn, 3)
    })
    .unwrap();
    setup.wait_until_settled();
    setup.consume(&auditor);
    use super::setup::trail::audit_logs;
    let rows: Vec<(Option<String>, Option<i32>)> = audit_logs::table
        .select((audit_logs::resource_type, audit_logs::transaction_seq))
        .order(audit_logs::transaction_seq)
        .load(conn)
        .unwrap();
    let of = |what: &str, place| (Some(what.to_owned()), Some(place));
    let expected = [
        of("accounts", 0),
        of("payments", 1),
        of("notes", 2),
        of("accounts", 3),
        of("payments", 4),
        of("notes", 5),
    ];
    assert_eq!(rows, expected);
}

#[test]
fn what_it_needs() {
    let setup = Setup::new();
    let build =
        |auditor: audit_diesel::AuditorBuilder| auditor.delivery(Delivery::Prepared).build();
    let without_pool = build(Auditor::builder().journal(setup.journal_path()));
    assert!(matches!(without_pool, Err(ConfigError::NothingToPrepareIn)));
    let without_journal = build(Auditor::builder().queue(audit_diesel::MemoryQueue::new()));
    assert!(matches!(
        without_journal,
        Err(ConfigError::NothingToPrepareIn)
    ));
    assert!(!setup.journal_path().exists());
}

#[test]
fn sqlite_is_refused_before_anything_is_written() {
    let setup = Setup::new();
    let auditor = setup.auditor();
    let app = sqlite::app();
    let path = app.guard.path().join("app.db");
    let mut conn = SqliteConnection::establish(path.to_str().unwrap()).unwrap();
    auditor.attach(&mut conn);
    let refused = audited::insert_into(accounts::table)
        .values(audit_tests::app::NewAccount::new("ada"))
        .execute(&mut conn)
        .unwrap_err();
    assert!(matches!(
        AuditError::of(&refused),
        Some(AuditError::PreparedNeedsPostgres)
    ));
    assert_eq!(accounts::table.count().get_result(&mut conn), Ok(0));
}

/// What the server is asked can be asked by a role that may do nothing special.
#[test]
fn a_role_without_privileges() {
    let setup = Setup::new();
    let auditor = setup.auditor();
    let conn = &mut setup.connection(&auditor);
    let role = format!("plain_{}", std::process::id());
    conn.batch_execute(&format!(
        "CREATE ROLE {role}; GRANT ALL ON accounts TO {role};
         GRANT ALL ON ALL SEQUENCES IN SCHEMA public TO {role}; SET ROLE {role}"
    ))
    .unwrap();
    insert(conn, "ada").unwrap();
    conn.transaction::<_, Error, _>(|conn| {
        conn.transaction(|conn| {
            auditor.record_in(conn, AuditEvent::new("report.made"))?;
            insert(conn, "grace")
        })
    })
    .unwrap();
    conn.batch_execute(&format!(
        "RESET ROLE; DROP OWNED BY {role}; DROP ROLE {role}"
    ))
    .unwrap();
    setup.assert_trail(&auditor, &["ada", "grace"]);
}
