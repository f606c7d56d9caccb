use audit_tests::app::sqlite::*;
use diesel::connection::{Connection, SimpleConnection};

#[path = "cases.rs"]
mod cases;

/// What the table of the application takes.
fn row_text(text: &str) -> String {
    text.to_owned()
}

fn unaudited(app: &App) -> Conn {
    let path = app.guard.path().join("app.db");
    let mut conn = Conn::establish(&path.display().to_string()).unwrap();
    conn.batch_execute("PRAGMA busy_timeout = 120000").unwrap();
    conn
}

#[test]
fn any_input_ends_in_the_trail_after_commit() {
    cases::any_input_ends_in_the_trail(&cases::after_commit);
}

#[test]
fn any_input_ends_in_the_trail_transactional() {
    cases::any_input_ends_in_the_trail(&cases::transactional);
}
