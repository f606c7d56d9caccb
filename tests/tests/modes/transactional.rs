//! Records that are written in the user's own transaction, with neither a queue nor a consumer.

use std::panic::{AssertUnwindSafe, catch_unwind};

use audit_diesel::{
    AuditError, AuditEvent, Auditor, ConfigError, Consumer, ConsumerError, Delivery, GuardMode,
    MemoryQueue, audited,
};
use audit_tests::app::{Account, NewAccount, accounts};
use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use diesel::result::Error;

use super::trail::history;
use super::{App, Conn, app, plain};
use crate::support::{
    Note, PANICS, Payment, TABLES, assert_history_of_unknown_ticket, assert_same, notes, oddities,
    payments, stored, without_queue, write_unknown_ticket,
};

fn insert(conn: &mut Conn, email: &str) -> QueryResult<usize> {
    audited::insert_into(accounts::table)
        .values(NewAccount::new(email))
        .execute(conn)
}

/// A connection whose auditor has no queue, and that auditor.
fn start() -> (App, Conn, Auditor) {
    let app = app();
    let mut conn = plain(&app);
    let auditor = without_queue();
    auditor.attach(&mut conn);
    (app, conn, auditor)
}

#[test]
fn a_statement_outside_of_a_transaction() {
    let (_app, mut conn, _) = start();
    let conn = &mut conn;
    insert(conn, "ada").unwrap();
    let ada: Account = audited::update(accounts::table)
        .set(accounts::balance.eq(5))
        .get_result(conn)
        .unwrap();
    assert_eq!(ada.balance, 5);
    audited::delete(&ada).execute(conn).unwrap();
    let rows = stored!(conn);
    let actions: Vec<&str> = rows.iter().map(|row| row.action.as_str()).collect();
    assert_eq!(actions, ["insert", "update", "delete"]);
    let changes = rows[1].changes.as_ref().unwrap();
    assert_eq!(changes["balance"]["old"], 0);
    assert_eq!(changes["balance"]["new"], 5);
}

#[test]
fn a_row_that_its_model_cannot_read_is_in_the_history_of_its_key() {
    let (_app, mut conn, _) = start();
    let conn = &mut conn;
    conn.batch_execute(TABLES).unwrap();
    write_unknown_ticket!(conn);
    assert_history_of_unknown_ticket!(history("tickets", 1).load(conn).unwrap());
}

#[test]
fn rolled_back_with_the_transaction() {
    let (_app, mut conn, _) = start();
    let conn = &mut conn;
    conn.transaction(|conn| {
        insert(conn, "kept")?;
        let undone = conn.transaction(|conn| {
            insert(conn, "to a savepoint")?;
            Err::<(), _>(Error::RollbackTransaction)
        });
        assert!(undone.is_err());
        insert(conn, "also kept")
    })
    .unwrap();
    let undone = conn.transaction(|conn| {
        insert(conn, "wholly")?;
        Err::<(), _>(Error::RollbackTransaction)
    });
    assert!(undone.is_err());
    assert_same!(conn, ["kept", "also kept"]);
    let places: Vec<_> = stored!(conn)
        .iter()
        .map(|row| row.transaction_seq)
        .collect();
    assert_eq!(places, [Some(0), Some(1)]);
}

#[test]
fn transactions_of_plain_sql() {
    let (_app, mut conn, _) = start();
    let conn = &mut conn;
    for (email, end) in [("gone", "ROLLBACK"), ("kept", "COMMIT")] {
        conn.batch_execute("BEGIN").unwrap();
        insert(conn, email).unwrap();
        conn.batch_execute("SAVEPOINT here").unwrap();
        insert(conn, "undone").unwrap();
        conn.batch_execute("ROLLBACK TO here").unwrap();
        conn.batch_execute(end).unwrap();
    }
    assert_same!(conn, ["kept"]);
}

#[test]
fn a_statement_that_fails() {
    let (_app, mut conn, _) = start();
    let conn = &mut conn;
    insert(conn, "ada").unwrap();
    insert(conn, "ada").unwrap_err();
    insert(conn, "grace").unwrap();
    assert_same!(conn, ["ada", "grace"]);
}

#[test]
fn a_statement_of_many_rows() {
    let (_app, mut conn, _) = start();
    let conn = &mut conn;
    let emails: Vec<String> = (0..3_500).map(|n| format!("{n:04}")).collect();
    let rows: Vec<_> = emails.iter().map(|email| NewAccount::new(email)).collect();
    audited::insert_into(accounts::table)
        .values(&rows)
        .execute(conn)
        .unwrap();
    let expected: Vec<&str> = emails.iter().map(String::as_str).collect();
    assert_same!(conn, expected);
}

#[test]
fn a_failing_trail_fails_the_statement() {
    let (_app, mut conn, _) = start();
    let conn = &mut conn;
    insert(conn, "before").unwrap();
    conn.batch_execute("ALTER TABLE audit_logs RENAME TO elsewhere")
        .unwrap();
    let error = insert(conn, "refused").unwrap_err();
    assert!(
        matches!(
            AuditError::of(&error),
            Some(AuditError::TrailUnusable { .. })
        ),
        "{error:?}"
    );
    assert!(error.to_string().contains("run the migrations"), "{error}");
    // The caller swallows the error, and commits what it did.
    let _ = conn.transaction::<_, Error, _>(|conn| {
        insert(conn, "swallowed").unwrap_err();
        Ok(())
    });
    let _ = conn.batch_execute("BEGIN");
    insert(conn, "swallowed in plain SQL").unwrap_err();
    let _ = conn.batch_execute("COMMIT");
    conn.batch_execute("ALTER TABLE elsewhere RENAME TO audit_logs")
        .unwrap();
    assert_same!(conn, ["before"]);
    insert(conn, "after").unwrap();
    assert_same!(conn, ["before", "after"]);
}

#[test]
fn a_panic_while_a_value_is_recorded_hides_that_value_only() {
    let (_app, mut conn, _) = start();
    let conn = &mut conn;
    conn.batch_execute(TABLES).unwrap();
    let insert = |conn: &mut Conn, id: i32| {
        audited::insert_into(oddities::table)
            .values((oddities::id.eq(id), oddities::kind.eq(PANICS)))
            .execute(conn)
    };
    assert_eq!(insert(conn, 1), Ok(1));
    assert_eq!(conn.transaction(|conn| insert(conn, 2)), Ok(1));
    assert_eq!(oddities::table.count().get_result(conn), Ok(2));
    let rows = stored!(conn);
    assert_eq!(rows.len(), 2);
    for row in rows {
        let changes = row.changes.unwrap();
        assert_eq!(changes["id"]["new"].to_string(), row.resource_id.unwrap());
        assert_eq!(changes["kind"]["unreadable"][0], "new");
    }
}

#[test]
fn a_panic_in_the_users_code_keeps_both_or_neither() {
    /// Loads, and panics in the caller's part.
    #[derive(Debug)]
    struct Panicking;
    impl<DB: diesel::backend::Backend> Queryable<diesel::sql_types::Integer, DB> for Panicking
    where
        i32: diesel::deserialize::FromStaticSqlRow<diesel::sql_types::Integer, DB>,
    {
        type Row = i32;
        fn build(_: i32) -> diesel::deserialize::Result<Self> {
            panic!("the user's code")
        }
    }
    let (_app, mut conn, _) = start();
    let conn = &mut conn;
    let panicked = catch_unwind(AssertUnwindSafe(|| {
        audited::insert_into(accounts::table)
            .values(NewAccount::new("ada"))
            .returning(accounts::id)
            .get_results::<Panicking>(conn)
    }));
    assert!(panicked.is_err());
    insert(conn, "grace").unwrap();
    assert_same!(conn, ["ada", "grace"]);
}

#[test]
fn events() {
    let (_app, mut conn, auditor) = start();
    let conn = &mut conn;
    let event = || AuditEvent::new("login.failed").resource("users", "ada");
    auditor.record_in(conn, event()).unwrap();
    let undone = conn.transaction(|conn| {
        auditor.record_in(conn, event()).unwrap();
        Err::<(), _>(Error::RollbackTransaction)
    });
    assert!(undone.is_err());
    let rows = stored!(conn);
    assert_eq!(rows.len(), 1);
    assert_eq!(rows[0].action, "login.failed");
    let refused = auditor.record(event()).unwrap_err();
    assert!(matches!(refused, AuditError::NoQueue), "{refused}");
    assert!(
        refused.to_string().contains("record_in(conn, …)"),
        "{refused}"
    );
}

#[test]
fn exempt_blocks() {
    let (_app, mut conn, _) = start();
    let conn = &mut conn;
    insert(conn, "ada").unwrap();
    audit_diesel::exempt(conn, "a backfill", |conn| {
        diesel::update(accounts::table)
            .set(accounts::balance.eq(1))
            .execute(conn)
    })
    .unwrap();
    let rows = stored!(conn);
    assert_eq!(rows.last().unwrap().action, "exempt");
    assert_eq!(rows.last().unwrap().extra.as_ref().unwrap()["rows"], 1);
}

#[test]
fn the_guard_does_not_see_the_insert() {
    let app = app();
    let mut conn = plain(&app);
    let auditor = Auditor::builder()
        .delivery(Delivery::Transactional)
        .guard(["accounts", "audit_logs"])
        .guard_mode(GuardMode::Panic)
        .build()
        .unwrap();
    auditor.attach(&mut conn);
    insert(&mut conn, "ada").unwrap();
    conn.transaction(|conn| insert(conn, "grace")).unwrap();
    assert_same!(&mut conn, ["ada", "grace"]);
}

#[test]
fn models_of_other_modes_in_one_transaction() {
    let app = app();
    let mut conn = plain(&app);
    let queue = MemoryQueue::new();
    let auditor = Auditor::builder().queue(queue.clone()).build().unwrap();
    auditor.attach(&mut conn);
    let conn = &mut conn;
    conn.batch_execute(TABLES).unwrap();
    let both = |conn: &mut Conn, id: i32| {
        audited::insert_into(notes::table)
            .values((notes::id.eq(id), notes::amount.eq(1)))
            .execute(conn)?;
        audited::insert_into(payments::table)
            .values((payments::id.eq(id), payments::amount.eq(1)))
            .execute(conn)?;
        audited::update(notes::table.find(id))
            .set(notes::amount.eq(2))
            .execute(conn)
    };
    conn.transaction(|conn| {
        both(conn, 1)?;
        let _ = conn.transaction(|conn| {
            both(conn, 2)?;
            Err::<(), _>(Error::RollbackTransaction)
        });
        assert_eq!(queue.records().unwrap().len(), 0);
        Ok::<_, Error>(())
    })
    .unwrap();
    let _ = conn.transaction(|conn| {
        both(conn, 3)?;
        Err::<(), _>(Error::RollbackTransaction)
    });
    let in_trail: Vec<_> = stored!(conn)
        .iter()
        .map(|row| (row.resource_type.clone().unwrap(), row.transaction_seq))
        .collect();
    assert_eq!(in_trail, [("payments".to_owned(), Some(1))]);
    let queued = queue.records().unwrap();
    let places: Vec<_> = queued.iter().map(|r| r.transaction.unwrap().seq).collect();
    assert_eq!(places, [0, 2]);
    assert!(
        queued
            .iter()
            .all(|r| r.resource_type.as_deref() == Some("notes"))
    );
    let transaction = stored!(conn)[0].transaction_id;
    assert_eq!(transaction, Some(queued[0].transaction.unwrap().id));
    let kept: Payment = payments::table.first(conn).unwrap();
    assert_eq!(kept, Payment { id: 1, amount: 1 });
    let kept: Note = notes::table.first(conn).unwrap();
    assert_eq!(kept, Note { id: 1, amount: 2 });
}

#[test]
fn a_model_that_needs_a_queue_is_refused_without_one() {
    let (_app, mut conn, _) = start();
    let conn = &mut conn;
    conn.batch_execute(TABLES).unwrap();
    let refused = audited::insert_into(notes::table)
        .values((notes::id.eq(1), notes::amount.eq(1)))
        .execute(conn)
        .unwrap_err();
    assert!(matches!(
        AuditError::of(&refused),
        Some(AuditError::NoQueue)
    ));
    assert_eq!(notes::table.count().get_result(conn), Ok(0));
}

#[test]
fn a_queue_is_needed_in_every_other_mode() {
    let app = app();
    assert!(matches!(
        Auditor::builder().build(),
        Err(ConfigError::NoQueue)
    ));
    let consumer = Consumer::builder(without_queue().queue(), app.pool.clone()).spawn();
    assert!(
        matches!(consumer, Err(ConsumerError::Queue(_))),
        "there is nothing to consume"
    );
}

/// For applications' own tests nothing but the memory is written.
#[test]
fn a_test_audit_overrules_the_model() {
    let app = app();
    let mut conn = plain(&app);
    let conn = &mut conn;
    conn.batch_execute(TABLES).unwrap();
    let audit = audit_diesel::testing::TestAudit::attached_to(conn);
    audited::insert_into(payments::table)
        .values((payments::id.eq(1), payments::amount.eq(1)))
        .execute(conn)
        .unwrap();
    assert_eq!(audit.committed().len(), 1);
    assert_eq!(stored!(conn).len(), 0);
}
