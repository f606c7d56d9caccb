use audit_tests::app::sqlite::*;
use diesel::Connection;

use crate::texts::WRITES_OF_SQLITE as WRITES_HERE;

#[path = "cases.rs"]
mod cases;

/// A connection without an auditor.
fn connect(app: &App) -> Conn {
    let path = app.guard.path().join("app.db");
    Conn::establish(&path.display().to_string()).unwrap()
}

#[test]
fn a_replace_is_stopped() {
    use audit_diesel::testing::TestAudit;
    use audit_diesel::{Auditor, GuardMode};
    use audit_tests::app::{NewAccount, accounts};
    use diesel::RunQueryDsl;

    let app = app();
    let settings = Auditor::builder().guard(["accounts"]);
    let audit = TestAudit::of(settings.guard_mode(GuardMode::Record));
    let mut conn = connect(&app);
    audit.auditor().attach(&mut conn);
    let replace = diesel::replace_into(accounts::table).values(NewAccount::new("a"));
    replace.execute(&mut conn).unwrap();
    assert_eq!(audit.committed()[0].extra["verb"], "REPLACE");
}
