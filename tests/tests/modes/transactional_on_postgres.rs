//! What only PostgreSQL refuses, or does in its own way.

use audit_diesel::{Actor, AuditContext, AuditError, audited};
use audit_tests::PostgresServer;
use audit_tests::TestDatabase;
use audit_tests::app::{NewAccount, accounts};
use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use diesel::result::{DatabaseErrorKind, Error};

use super::{App, Conn, app, app_on};
use crate::support::{TABLES, assert_same, oddities, without_queue};

fn start_on(app: App) -> (App, Conn) {
    let mut conn = app.guard.connection();
    without_queue().attach(&mut conn);
    (app, conn)
}

fn insert(conn: &mut Conn, email: &str) -> QueryResult<usize> {
    audited::insert_into(accounts::table)
        .values(NewAccount::new(email))
        .execute(conn)
}

/// jsonb and text hold no U+0000, and numeric not every number that JSON can write. The record is
/// not made another one: the statement fails, and nothing of it is kept.
#[test]
fn what_the_database_has_no_form_for() {
    let (_app, mut conn) = start_on(app());
    let conn = &mut conn;
    conn.batch_execute(TABLES).unwrap();
    let refused = |result: QueryResult<usize>| {
        let error = result.unwrap_err();
        assert!(
            matches!(AuditError::of(&error), Some(AuditError::NotStored { .. })),
            "{error:?}"
        );
        assert!(
            error.to_string().contains("its change is not kept"),
            "{error}"
        );
    };
    conn.batch_execute(
        "ALTER TABLE audit_logs ADD CHECK (actor_id <> 'refused'),
             ADD CHECK (extra->>'agent' <> 'refused'), ADD CHECK (resource_type <> 'oddities')",
    )
    .unwrap();
    let in_extra = AuditContext::new(Actor::user("1")).with("agent", "refused");
    let in_text = AuditContext::new(Actor::user("refused"));
    for context in [in_extra, in_text] {
        context.scope(|| {
            refused(insert(conn, "ada"));
            let _ = conn.transaction::<_, Error, _>(|conn| {
                refused(insert(conn, "swallowed"));
                Ok(())
            });
        });
    }
    let odd = (oddities::id.eq(1), oddities::kind.eq(0));
    refused(
        audited::insert_into(oddities::table)
            .values(odd)
            .execute(conn),
    );
    assert_eq!(oddities::table.count().get_result(conn), Ok(0));
    assert_same!(conn, []);
}

#[test]
fn a_commit_that_a_deferred_constraint_refuses() {
    let (_app, mut conn) = start_on(app());
    let conn = &mut conn;
    conn.batch_execute(
        "ALTER TABLE accounts DROP CONSTRAINT accounts_email_key,
         ADD UNIQUE (email) DEFERRABLE INITIALLY DEFERRED",
    )
    .unwrap();
    insert(conn, "ada").unwrap();
    insert(conn, "ada").unwrap_err();
    conn.transaction(|conn| insert(conn, "ada")).unwrap_err();
    assert_same!(conn, ["ada"]);
}

/// The caller tries again on what is worth it, and so has to see it.
#[test]
fn a_failure_of_the_moment_is_the_databases_own_error() {
    let (app, mut conn) = start_on(app());
    let conn = &mut conn;
    let mut locker = app.guard.connection();
    locker
        .batch_execute("BEGIN; LOCK TABLE audit_logs IN ACCESS EXCLUSIVE MODE")
        .unwrap();
    conn.batch_execute("SET lock_timeout = '20ms'").unwrap();
    let error = insert(conn, "ada").unwrap_err();
    assert!(
        matches!(error, Error::DatabaseError(DatabaseErrorKind::Unknown, _)),
        "{error:?}"
    );
    locker.batch_execute("ROLLBACK").unwrap();
    insert(conn, "grace").unwrap();
    assert_same!(conn, ["grace"]);
}

/// The server is killed: what it kept has its record, and what it did not has none.
#[test]
fn a_server_that_is_killed() {
    let mut server = PostgresServer::start();
    let (app, mut conn) = start_on(app_on(TestDatabase::on(&server.url())));
    insert(&mut conn, "kept").unwrap();
    conn.batch_execute("BEGIN").unwrap();
    insert(&mut conn, "open").unwrap();
    server.kill9();
    insert(&mut conn, "gone").unwrap_err();
    server.restart();
    let conn = &mut app.guard.connection();
    assert_same!(conn, ["kept"]);
}
