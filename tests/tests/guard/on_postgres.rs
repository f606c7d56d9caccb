use audit_tests::app::postgres::*;

#[path = "cases.rs"]
mod cases;

/// A connection without an auditor.
fn connect(app: &App) -> Conn {
    app.guard.connection()
}
