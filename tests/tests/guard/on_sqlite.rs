use audit_tests::app::sqlite::*;
use diesel::{Connection, RunQueryDsl};

use crate::corpus::{Case, SQLITE};
use crate::texts::WRITES_OF_SQLITE as WRITES_HERE;

#[path = "cases.rs"]
mod cases;

const INSERT_HERE: &str = "INSERT INTO `accounts` (`email`, `api_token`) VALUES (?, ?)";

fn corpus() -> impl Iterator<Item = Case> {
    SQLITE.iter().copied()
}

/// What SQLite says where it cannot parse a text.
fn fails_to_parse(conn: &mut Conn, sql: &str) -> Option<String> {
    let undone = conn.transaction(|conn| {
        diesel::sql_query(sql).execute(conn)?;
        Err::<(), _>(diesel::result::Error::RollbackTransaction)
    });
    let error = undone.err()?.to_string();
    let is_of_syntax = |problem: &&str| error.contains(*problem);
    let problems = ["syntax error", "unrecognized token", "incomplete input"];
    problems
        .iter()
        .any(is_of_syntax)
        .then(|| format!("{sql}: {error}"))
}

/// A connection without an auditor.
fn connect(app: &App) -> Conn {
    let path = app.guard.path().join("app.db");
    Conn::establish(&path.display().to_string()).unwrap()
}

/// A carriage return does not end a comment here, as it does on PostgreSQL.
#[test]
fn a_comment_ends_with_its_line() {
    use audit_diesel::testing::TestAudit;
    use audit_diesel::{Auditor, GuardMode};
    use diesel::connection::SimpleConnection;

    let app = app();
    let settings = Auditor::builder().guard(["accounts"]);
    let audit = TestAudit::of(settings.guard_mode(GuardMode::Record));
    let mut conn = connect(&app);
    audit.auditor().attach(&mut conn);
    conn.batch_execute("SELECT 1 -- why\rDELETE FROM accounts")
        .unwrap();
    conn.batch_execute("SELECT 1 -- why\r; DELETE FROM accounts")
        .unwrap();
    assert!(audit.committed().is_empty());
    conn.batch_execute("SELECT 1 -- it's\rso\r\n; DELETE FROM accounts")
        .unwrap();
    assert_eq!(audit.committed()[0].extra["verb"], "DELETE");
    // Nor does what stands behind it end a transaction.
    conn.batch_execute("BEGIN; -- why\rCOMMIT\n").unwrap();
    let new = audit_tests::app::NewAccount::new("a");
    audit_diesel::audited::insert_into(audit_tests::app::accounts::table)
        .values(new)
        .execute(&mut conn)
        .unwrap();
    assert_eq!(audit.committed().len(), 1);
    conn.batch_execute("ROLLBACK").unwrap();
    assert_eq!(audit.committed().len(), 1);
}

#[test]
fn a_replace_is_stopped() {
    use audit_diesel::testing::TestAudit;
    use audit_diesel::{Auditor, GuardMode};
    use audit_tests::app::{NewAccount, accounts};

    let app = app();
    let settings = Auditor::builder().guard(["accounts"]);
    let audit = TestAudit::of(settings.guard_mode(GuardMode::Record));
    let mut conn = connect(&app);
    audit.auditor().attach(&mut conn);
    let replace = diesel::replace_into(accounts::table).values(NewAccount::new("a"));
    replace.execute(&mut conn).unwrap();
    assert_eq!(audit.committed()[0].extra["verb"], "REPLACE");
}
