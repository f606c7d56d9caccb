//! Transactions that only PostgreSQL has, or ends in its own way.

use audit_diesel::{AuditEvent, Auditor, MemoryQueue, audited};
use audit_tests::app::postgres::{App, Conn, app};
use audit_tests::app::{NewAccount, accounts};
use diesel::connection::SimpleConnection;
use diesel::pg::PgRowByRowLoadingMode;
use diesel::prelude::*;
use diesel::result::Error;

use crate::support::{NO, add, assert_kept};

fn insert(conn: &mut Conn, email: &str) -> QueryResult<usize> {
    audited::insert_into(accounts::table)
        .values(NewAccount::new(email))
        .execute(conn)
}

fn deferred_uniqueness(app: &App) {
    app.pool
        .get()
        .unwrap()
        .batch_execute(
            "ALTER TABLE accounts DROP CONSTRAINT accounts_email_key,
             ADD UNIQUE (email) DEFERRABLE INITIALLY DEFERRED",
        )
        .unwrap();
}

/// Which server it is may not be asked by everybody, and asking once is enough.
#[test]
fn a_role_that_may_not_ask_for_the_server() {
    let app = app();
    let conn = &mut app.guard.connection();
    let role = app.guard.url().rsplit('/').next().unwrap().to_owned();
    conn.batch_execute(&format!(
        "REVOKE EXECUTE ON FUNCTION pg_control_system() FROM PUBLIC;
         CREATE ROLE {role}; GRANT ALL ON accounts, accounts_id_seq TO {role}; SET ROLE {role}"
    ))
    .unwrap();
    app.auditor.attach(conn);
    conn.batch_execute("BEGIN").unwrap();
    app.auditor.attach(conn);
    add!(conn, "ada");
    conn.batch_execute("COMMIT; RESET ROLE").unwrap();
    assert_kept!(app, conn, ["ada"]);
    conn.batch_execute(&format!("DROP OWNED BY {role}; DROP ROLE {role}"))
        .unwrap();
}

#[test]
fn a_commit_that_a_deferred_constraint_refuses() {
    let app = app();
    deferred_uniqueness(&app);
    let conn = &mut app.pool.get().unwrap();
    add!(conn, "ada");
    conn.transaction(|conn| insert(conn, "ada")).unwrap_err();
    assert_kept!(app, conn, ["ada"]);
    // Outside of a transaction the constraint is checked after the rows were returned.
    insert(conn, "ada").unwrap_err();
    audited::insert_into(accounts::table)
        .values(NewAccount::new("ada"))
        .returning(accounts::id)
        .get_result::<i32>(conn)
        .unwrap_err();
    assert_kept!(app, conn, ["ada"]);
    conn.batch_execute("BEGIN").unwrap();
    add!(conn, "ada");
    conn.batch_execute("SELECT 1; COMMIT AND CHAIN")
        .unwrap_err();
    add!(conn, "next");
    let settled: Vec<_> = app
        .records()
        .into_iter()
        .filter(|r| r.unsettled.is_none())
        .collect();
    assert_eq!(crate::support::added(&settled), ["ada", "next"]);
}

#[test]
fn a_commit_that_fails_to_serialize() {
    let app = app();
    let (one, two) = (&mut app.pool.get().unwrap(), &mut app.pool.get().unwrap());
    let read = |conn: &mut Conn| accounts::table.count().get_result::<i64>(conn);
    let committed = one.build_transaction().serializable().run(|one| {
        read(one)?;
        two.build_transaction().serializable().run(|two| {
            read(two)?;
            insert(two, "two")
        })?;
        insert(one, "one")
    });
    assert!(committed.is_err());
    assert_kept!(app, one, ["two"]);
}

#[test]
fn transactions_with_options() {
    let app = app();
    let conn = &mut app.pool.get().unwrap();
    conn.build_transaction()
        .repeatable_read()
        .run(|conn| insert(conn, "kept"))
        .unwrap();
    let _ = conn
        .build_transaction()
        .serializable()
        .deferrable()
        .run(|conn| {
            insert(conn, "gone")?;
            Err::<(), _>(NO)
        });
    conn.build_transaction()
        .read_only()
        .run(|conn| insert(conn, "refused"))
        .unwrap_err();
    let reading = conn.build_transaction().read_only().run(|conn| {
        app.auditor
            .record_in(conn, AuditEvent::new("report.read"))
            .unwrap();
        Ok::<_, Error>(())
    });
    reading.unwrap();
    assert_eq!(app.records().last().unwrap().action, "report.read");
    assert_eq!(app.records().len(), 2);
}

#[test]
fn a_swallowed_failure_makes_commit_a_rollback() {
    let app = app();
    let conn = &mut app.pool.get().unwrap();
    add!(conn, "ada");
    let swallowed: [fn(&mut Conn); 4] = [
        |conn| drop(insert(conn, "ada")),
        |conn| drop(conn.batch_execute("SELECT * FROM nowhere")),
        |conn| {
            // Diesel reports the end of such a query after its failure.
            let failing = diesel::select(diesel::dsl::sql::<diesel::sql_types::Integer>(
                "1 / (3 - x) FROM generate_series(1, 5) AS x",
            ));
            let rows = failing
                .load_iter::<i32, PgRowByRowLoadingMode>(conn)
                .unwrap();
            assert!(rows.collect::<QueryResult<Vec<_>>>().is_err());
        },
        |conn| {
            drop(insert(conn, "ada"));
            drop(conn.batch_execute("")); // Diesel's error, not the server's
        },
    ];
    for swallow in swallowed {
        let committed = conn.transaction::<_, Error, _>(|conn| {
            insert(conn, "grace")?;
            swallow(conn);
            let _ = app
                .auditor
                .record_in(conn, AuditEvent::new("in an aborted transaction"));
            Ok(())
        });
        // What Diesel says is not what counts.
        let _ = committed;
        assert_kept!(app, conn, ["ada"]);
    }
}

#[test]
fn a_transaction_that_chains_into_the_next() {
    let app = app();
    let conn = &mut app.pool.get().unwrap();
    conn.batch_execute("COMMIT AND CHAIN").unwrap_err();
    add!(conn, "no transaction");
    assert_eq!(app.records().len(), 1);
    for (step, email) in [
        ("BEGIN", "a"),
        ("COMMIT AND CHAIN", "b"),
        ("ROLLBACK AND CHAIN", "c"),
        ("COMMIT WORK AND NO CHAIN", "d"),
    ] {
        conn.batch_execute(step).unwrap();
        add!(conn, email);
    }
    assert_kept!(app, conn, ["no transaction", "a", "c", "d"]);
    let refs: Vec<_> = app
        .records()
        .iter()
        .map(|r| r.transaction.unwrap().id)
        .collect();
    assert_ne!(refs[1], refs[2]);
}

#[test]
fn a_warning_is_no_new_transaction() {
    let app = app();
    let conn = &mut app.pool.get().unwrap();
    conn.batch_execute("COMMIT").unwrap();
    conn.batch_execute("BEGIN").unwrap();
    add!(conn, "a");
    // Diesel's BEGIN is a warning, and its COMMIT ends the raw transaction.
    conn.transaction(|conn| insert(conn, "b")).unwrap();
    assert_kept!(app, conn, ["a", "b"]);
}

#[test]
fn names_of_savepoints_are_folded_unless_quoted() {
    let app = app();
    let conn = &mut app.pool.get().unwrap();
    for step in ["BEGIN", "SAVEPOINT sp", "SAVEPOINT \"SP\""] {
        conn.batch_execute(step).unwrap();
        add!(conn, step);
    }
    conn.batch_execute("ROLLBACK TO \"SP\"; RELEASE SP; COMMIT")
        .unwrap();
    assert_kept!(app, conn, ["BEGIN", "SAVEPOINT sp"]);
}

/// PostgreSQL cuts them to the same 63 bytes.
#[test]
fn long_names_of_savepoints() {
    let app = app();
    let conn = &mut app.pool.get().unwrap();
    let name = "ä".repeat(32);
    conn.batch_execute(&format!("BEGIN; SAVEPOINT {name}_one"))
        .unwrap();
    add!(conn, "gone");
    conn.batch_execute(&format!("ROLLBACK TO {name}_two; COMMIT"))
        .unwrap();
    assert_kept!(app, conn, []);
}

#[test]
fn an_auditor_of_its_own_for_a_plain_connection() {
    let app = app();
    let mut conn = app.guard.connection();
    let queue = MemoryQueue::new();
    let auditor = Auditor::builder().queue(queue.clone()).build().unwrap();
    auditor.attach(&mut conn);
    conn.transaction(|conn| insert(conn, "ada")).unwrap();
    drop(conn);
    assert_eq!(crate::support::added(&queue.records().unwrap()), ["ada"]);
}

/// The savepoint was set, and what follows it in the batch failed: a rollback to its name goes
/// there, and not to the savepoint of the same name that is further out.
#[test]
fn a_batch_that_fails_after_its_savepoint() {
    let app = app();
    let conn = &mut app.pool.get().unwrap();
    conn.batch_execute("BEGIN; SAVEPOINT s").unwrap();
    add!(conn, "a");
    conn.batch_execute("SAVEPOINT s; SELECT 1 / 0").unwrap_err();
    conn.batch_execute("ROLLBACK TO s").unwrap();
    add!(conn, "b");
    conn.batch_execute("COMMIT").unwrap();
    assert_kept!(app, conn, ["a", "b"]);
}

/// None of a batch is run whose text cannot be read.
#[test]
fn a_batch_that_cannot_be_read() {
    let app = app();
    let conn = &mut app.pool.get().unwrap();
    conn.batch_execute("BEGIN; SAVEPOINT s").unwrap();
    add!(conn, "a");
    conn.batch_execute("SAVEPOINT s; SELEC 1").unwrap_err();
    conn.batch_execute("ROLLBACK TO s").unwrap();
    add!(conn, "b");
    conn.batch_execute("COMMIT").unwrap();
    assert_kept!(app, conn, ["b"]);
}
