use audit_tests::app::sqlite::*;
use diesel::Connection;

#[path = "cases.rs"]
mod cases;

/// A connection without an auditor.
fn connect(app: &App) -> Conn {
    let path = app.guard.path().join("app.db");
    Conn::establish(&path.display().to_string()).unwrap()
}
