//! Somebody between answers in PostgreSQL's place: what did not have to come from PostgreSQL proves
//! nothing, and PostgreSQL is asked.

use audit_diesel::{Consumer, Queue, audited};
use audit_tests::app::postgres::{App, Conn, app};
use audit_tests::app::{NewAccount, accounts};
use audit_tests::{Forgery, Proxy};
use diesel::connection::SimpleConnection;
use diesel::dsl::sql;
use diesel::prelude::*;
use diesel::result::Error;
use diesel::sql_types::Text;

use crate::support::{Log, add};

/// What poolers, load balancers and other databases answer with: of the connection, the
/// administrator, the system, the protocol; and what PostgreSQL itself might have said.
const CODES: [&str; 12] = [
    "08P01", "08003", "08006", "57P01", "57P03", "XX000", "58000", "40003", "25006", "53300",
    "0A000", "42601",
];

/// A connection to the application's database through a network that may lie.
fn through_proxy(app: &App) -> (Proxy, Conn) {
    let url = app.guard.url();
    let (host, database) = url.rsplit_once('/').unwrap();
    let (host, port) = host.rsplit_once(':').unwrap();
    let proxy = Proxy::start(port.parse().unwrap());
    let url = format!("{host}:{}/{database}", proxy.port());
    let mut conn = Conn::establish(&url).unwrap();
    app.auditor.attach(&mut conn);
    (proxy, conn)
}

fn insert(conn: &mut Conn, email: &str) -> QueryResult<usize> {
    audited::insert_into(accounts::table)
        .values(NewAccount::new(email))
        .execute(conn)
}

/// Stores what is in the queue, and compares it with the table.
fn assert_recorded_is_kept(app: &App, expected: &[&str], what: &str) {
    let consumer = Consumer::builder(app.auditor.queue(), app.pool.clone())
        .spawn()
        .unwrap();
    consumer.flush().unwrap();
    assert_eq!(consumer.stats().quarantined, 0, "{what}");
    consumer.stop().unwrap();
    let conn = &mut app.guard.connection();
    let kept: Vec<String> = accounts::table
        .select(accounts::email)
        .order(accounts::id)
        .load(conn)
        .unwrap();
    assert_eq!(kept, expected, "the table: {what}");
    let recorded = sql::<Text>("changes->'email'->>'new' FROM audit_logs ORDER BY occurred_at, id");
    let recorded: Vec<String> = diesel::select(recorded).load(conn).unwrap();
    assert_eq!(recorded, expected, "the trail: {what}");
}

#[test]
fn an_error_at_commit_that_proves_nothing_loses_no_record_and_invents_none() {
    for sqlstate in CODES {
        let app = app();
        let (proxy, mut conn) = through_proxy(&app);
        for (name, forwarded) in [
            ("committed", Some("COMMIT")),
            ("rolled back", Some("ROLLBACK")),
            ("not forwarded", None),
        ] {
            proxy.forge(Forgery {
                query: "COMMIT",
                forwarded,
                sqlstate,
            });
            let result = conn.transaction(|conn| insert(conn, name));
            assert!(result.is_err(), "{sqlstate}");
            // Diesel may believe that the connection is broken.
            app.auditor.attach(&mut conn);
            if conn.batch_execute("SELECT 1").is_err() {
                conn = Conn::establish(&app.guard.url()).unwrap();
                app.auditor.attach(&mut conn);
            }
        }
        drop(conn);
        let in_doubt = app.auditor.stats().in_doubt;
        assert!(in_doubt >= 1, "{sqlstate}");
        assert_recorded_is_kept(&app, &["committed"], sqlstate);
    }
}

/// What only the database can know needs nobody to be asked.
#[test]
fn a_constraint_at_commit_is_believed() {
    let app = app();
    let conn = &mut app.pool.get().unwrap();
    conn.batch_execute(
        "ALTER TABLE accounts DROP CONSTRAINT accounts_email_key,
         ADD UNIQUE (email) DEFERRABLE INITIALLY DEFERRED",
    )
    .unwrap();
    add!(conn, "ada");
    conn.transaction(|conn| insert(conn, "ada")).unwrap_err();
    let stats = app.auditor.stats();
    assert_eq!((stats.in_doubt, stats.discarded), (0, 1), "{stats:?}");
    assert_recorded_is_kept(&app, &["ada"], "deferred");
}

/// A trigger's own error, at COMMIT, might as well be a pooler's.
#[test]
fn an_error_of_a_trigger_at_commit_is_asked_about() {
    let app = app();
    let conn = &mut app.pool.get().unwrap();
    conn.batch_execute(
        "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS
             'BEGIN RAISE EXCEPTION ''no''; END';
         CREATE CONSTRAINT TRIGGER refuse AFTER INSERT ON accounts
             DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION refuse();",
    )
    .unwrap();
    conn.transaction(|conn| insert(conn, "ada")).unwrap_err();
    assert_recorded_is_kept(&app, &[], "trigger");
}

/// The transaction goes on, though its COMMIT was answered.
#[test]
fn a_commit_that_did_not_arrive_and_is_sent_again() {
    let app = app();
    let (proxy, mut conn) = through_proxy(&app);
    let conn = &mut conn;
    for end in ["COMMIT", "ROLLBACK"] {
        conn.batch_execute("BEGIN").unwrap();
        insert(conn, &format!("before {end}")).unwrap();
        proxy.forge(Forgery {
            query: "COMMIT",
            forwarded: None,
            sqlstate: "58000",
        });
        conn.batch_execute("COMMIT").unwrap_err();
        insert(conn, &format!("after {end}")).unwrap();
        conn.batch_execute(end).unwrap();
    }
    assert_recorded_is_kept(&app, &["before COMMIT", "after COMMIT"], "again");
}

/// The statement in front of COMMIT was done, and somebody said that it was not.
#[test]
fn an_error_of_a_statement_that_proves_nothing_drops_no_record() {
    for sqlstate in ["XX000", "57P01", "08P01"] {
        let app = app();
        let (proxy, mut conn) = through_proxy(&app);
        let committed = conn.transaction::<_, Error, _>(|conn| {
            insert(conn, "kept")?;
            proxy.forge(Forgery {
                query: "SELECT 1",
                forwarded: Some("SELECT 1"),
                sqlstate,
            });
            conn.batch_execute("SELECT 1").unwrap_err();
            Ok(())
        });
        let kept: &[_] = match committed {
            Ok(()) => &["kept"],
            // Diesel rolls back where it takes the connection for lost.
            Err(_) => &[],
        };
        drop(conn);
        assert_recorded_is_kept(&app, kept, sqlstate);
    }
}

#[test]
fn an_error_at_a_savepoint_that_proves_nothing_drops_no_record() {
    for control in ["SAVEPOINT s", "RELEASE SAVEPOINT s"] {
        let app = app();
        let (proxy, mut conn) = through_proxy(&app);
        let conn = &mut conn;
        conn.batch_execute("BEGIN").unwrap();
        insert(conn, "a").unwrap();
        if control != "SAVEPOINT s" {
            conn.batch_execute("SAVEPOINT s").unwrap();
        }
        insert(conn, "b").unwrap();
        proxy.forge(Forgery {
            query: control,
            forwarded: Some(control),
            sqlstate: "XX000",
        });
        conn.batch_execute(control).unwrap_err();
        insert(conn, "c").unwrap();
        conn.batch_execute("COMMIT").unwrap();
        assert_recorded_is_kept(&app, &["a", "b", "c"], control);
    }
}

/// Nobody can say whether it was done. What it may have taken back is recorded rather than lost, and
/// what came before and after it is not touched.
#[test]
fn an_error_at_a_rollback_to_a_savepoint_that_proves_nothing_drops_no_record() {
    for sqlstate in CODES {
        let app = app();
        let (proxy, mut conn) = through_proxy(&app);
        let conn = &mut conn;
        conn.batch_execute("BEGIN").unwrap();
        insert(conn, "a").unwrap();
        conn.batch_execute("SAVEPOINT s").unwrap();
        insert(conn, "b").unwrap();
        proxy.forge(Forgery {
            query: "ROLLBACK TO SAVEPOINT s",
            forwarded: None,
            sqlstate,
        });
        conn.batch_execute("ROLLBACK TO SAVEPOINT s").unwrap_err();
        insert(conn, "c").unwrap();
        conn.batch_execute("COMMIT").unwrap();
        assert_recorded_is_kept(&app, &["a", "b", "c"], sqlstate);
    }
}

/// Diesel rolls the whole transaction back then, whatever its closure says.
#[test]
fn a_savepoint_of_diesels_whose_rollback_was_not_proven_keeps_table_and_trail_the_same() {
    for forwarded in [None, Some("ROLLBACK TO SAVEPOINT diesel_savepoint_1")] {
        let app = app();
        let (proxy, mut conn) = through_proxy(&app);
        let ended = conn.transaction::<_, Error, _>(|conn| {
            insert(conn, "a")?;
            let inner = conn.transaction::<(), Error, _>(|conn| {
                insert(conn, "b")?;
                proxy.forge(Forgery {
                    query: "ROLLBACK TO SAVEPOINT diesel_savepoint_1",
                    forwarded,
                    sqlstate: "XX000",
                });
                Err(Error::RollbackTransaction)
            });
            inner.unwrap_err();
            Ok(())
        });
        ended.unwrap_err();
        drop(conn);
        assert_recorded_is_kept(&app, &[], "of Diesel's");
    }
}

/// An audited statement that may have been done, and that has no record, cannot be committed.
#[test]
fn an_audited_statement_whose_answer_was_taken_away_is_not_committed_without_a_record() {
    let app = app();
    let (_proxy, mut conn) = through_proxy(&app);
    let committed = conn.transaction::<_, Error, _>(|conn| {
        insert(conn, "a")?;
        // Of PostgreSQL, which leaves nothing to be done; it stands for any.
        diesel::update(accounts::table)
            .set(accounts::balance.eq(-1))
            .execute(conn)
            .unwrap_err();
        insert(conn, "b").unwrap_err();
        Ok(())
    });
    let _ = committed;
    drop(conn);
    assert_recorded_is_kept(&app, &[], "refused");
}

#[test]
fn another_instrumentation_inside_a_transaction_takes_no_record_away() {
    let app = app();
    let mut conn = app.guard.connection();
    for (name, end) in [("kept", "COMMIT"), ("gone", "ROLLBACK")] {
        app.auditor.attach(&mut conn);
        conn.batch_execute("BEGIN").unwrap();
        insert(&mut conn, name).unwrap();
        conn.set_instrumentation(Log::default());
        conn.batch_execute(end).unwrap();
    }
    assert_eq!(app.auditor.stats().in_doubt, 2);
    assert_recorded_is_kept(&app, &["kept"], "set_instrumentation");
}

#[test]
fn a_connection_that_is_closed_inside_a_transaction_records_nothing() {
    let app = app();
    let mut conn = app.guard.connection();
    app.auditor.attach(&mut conn);
    conn.batch_execute("BEGIN").unwrap();
    insert(&mut conn, "gone").unwrap();
    drop(conn);
    audit_tests::wait_until("the queue is empty", audit_tests::LONG, || {
        assert_recorded_is_kept(&app, &[], "closed");
        app.queue.is_empty().unwrap()
    });
}

#[test]
fn a_pooled_connection_that_lost_its_auditor_is_noticed() {
    let app = app();
    let mut conn = app.pool.get().unwrap();
    conn.set_instrumentation(Log::default());
    // The pool drops a connection that is broken.
    let _ = conn.batch_execute("SELECT pg_terminate_backend(pg_backend_pid())");
    drop(conn);
    let pool = app.pool.clone();
    audit_tests::wait_until("it is noticed", audit_tests::LONG, || {
        drop(pool.get());
        app.auditor.stats().detached == 1
    });
}
