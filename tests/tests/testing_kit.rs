//! What applications test with: records inside a transaction that never commits, and assertions.

use std::panic::{AssertUnwindSafe, catch_unwind};

use audit_diesel::testing::{TestAudit, line};
use audit_diesel::{Actor, AuditContext, AuditEvent, Auditor, GuardMode, MemoryQueue, audited};
use audit_tests::app::{self, NewAccount, accounts};
use diesel::prelude::*;

fn message(work: impl FnOnce()) -> String {
    let panic = catch_unwind(AssertUnwindSafe(work)).expect_err("it panics");
    *panic.downcast::<String>().expect("a message")
}

/// A connection to an empty database.
fn sqlite() -> (app::sqlite::App, SqliteConnection) {
    let app = app::sqlite::app();
    let path = app.guard.path().join("app.db").display().to_string();
    let conn = SqliteConnection::establish(&path).unwrap();
    (app, conn)
}

/// The same on both backends.
macro_rules! sees_a_transaction_that_never_commits {
    ($conn:expr) => {{
        let conn = $conn;
        let audit = TestAudit::attached_to(conn);
        conn.begin_test_transaction().unwrap();
        AuditContext::new(Actor::user("42")).scope(|| {
            audited::insert_into(accounts::table)
                .values((accounts::id.eq(7), NewAccount::new("ada")))
                .execute(conn)
                .unwrap();
            audited::update(accounts::table.find(7))
                .set((accounts::role.eq("admin"), accounts::api_token.eq("n3w")))
                .execute(conn)
                .unwrap();
            conn.transaction(|conn| {
                audited::delete(accounts::table).execute(conn)?;
                Err::<(), _>(diesel::result::Error::RollbackTransaction)
            })
            .unwrap_err();
            let login = AuditEvent::new("login").resource("accounts", 7);
            audit.auditor().record_in(conn, login).unwrap();
        });
        audit.assert_trail(
            conn,
            &[
                "user:42 insert accounts 7: id 7, email \"ada\", role \"member\", balance 0, \
                 note null, api_token redacted, updated_at \"2026-01-01T00:00:00\"",
                "user:42 update accounts 7: role \"member\" → \"admin\", api_token redacted",
                "user:42 login accounts 7",
            ],
        );
        assert!(audit.committed().is_empty());
        audit
    }};
}

#[test]
fn records_are_seen_in_a_transaction_that_never_commits() {
    let postgres = app::postgres::app();
    sees_a_transaction_that_never_commits!(&mut postgres.guard.connection());
    let (_app, mut conn) = sqlite();
    let audit = sees_a_transaction_that_never_commits!(&mut conn);

    let difference = message(|| {
        audit.assert_trail(
            &mut conn,
            &[
                "user:42 update accounts 7: role \"member\" → \"owner\"",
                "user:42 login accounts 7",
                "user:42 logout accounts 7",
            ],
        );
    });
    assert_eq!(
        difference,
        "the trail is not as expected (- missing, + instead):
  - user:42 update accounts 7: role \"member\" → \"owner\"
  + user:42 insert accounts 7: id 7, email \"ada\", role \"member\", balance 0, note null, \
         api_token redacted, updated_at \"2026-01-01T00:00:00\"
  + user:42 update accounts 7: role \"member\" → \"admin\", api_token redacted
    user:42 login accounts 7
  - user:42 logout accounts 7
"
    );
}

#[test]
fn what_was_committed_comes_before_what_waits() {
    let (_app, mut conn) = sqlite();
    let audit = TestAudit::attached_to(&mut conn);
    let insert = |conn: &mut SqliteConnection, email| {
        audited::insert_into(accounts::table)
            .values(NewAccount::new(email))
            .execute(conn)
    };
    insert(&mut conn, "ada").unwrap();
    conn.begin_test_transaction().unwrap();
    insert(&mut conn, "bob").unwrap();
    let ids = |records: Vec<audit_diesel::Record>| -> Vec<_> {
        records
            .iter()
            .filter_map(|r| r.resource_id.clone())
            .collect()
    };
    assert_eq!(ids(audit.committed()), ["1"]);
    assert_eq!(ids(audit.records(&mut conn)), ["1", "2"]);
    let line = line(&audit.committed()[0]);
    assert!(
        line.starts_with("unknown insert accounts 1: id 1, email \"ada\", "),
        "{line}"
    );
}

#[test]
fn settings_are_the_applications_own() {
    let (_app, mut conn) = sqlite();
    let settings = Auditor::builder().guard(["accounts"]);
    let audit = TestAudit::of(settings.guard_mode(GuardMode::Panic));
    audit.auditor().attach(&mut conn);
    let stopped = message(|| drop(diesel::delete(accounts::table).execute(&mut conn)));
    assert!(stopped.contains("a raw DELETE"), "{stopped}");

    let refused = message(|| drop(TestAudit::of(Auditor::builder().max_record_bytes(0))));
    assert!(refused.contains("max_record_bytes"), "{refused}");
    // The queue in memory takes the place of another one.
    let replaced = TestAudit::of(Auditor::builder().queue(MemoryQueue::new()));
    replaced.auditor().record(AuditEvent::new("login")).unwrap();
    assert_eq!(replaced.committed().len(), 1);
}

#[test]
fn an_unattached_connection_is_said() {
    let (_app, mut conn) = sqlite();
    let audit = TestAudit::new();
    let message = message(|| drop(audit.records(&mut conn)));
    assert!(
        message.contains("attach this auditor to the connection first"),
        "{message}"
    );
}
