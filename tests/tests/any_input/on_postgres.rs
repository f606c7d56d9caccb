use audit_diesel::{Auditor, Delivery};
use audit_tests::app::postgres::*;

#[path = "cases.rs"]
mod cases;

/// What the table of the application takes: no U+0000, and no long keys.
fn row_text(text: &str) -> String {
    text.replace('\0', "").chars().take(450).collect()
}

fn unaudited(app: &App) -> Conn {
    app.guard.connection()
}

fn prepared(app: &App) -> Auditor {
    Auditor::builder()
        .journal(std::env::temp_dir().join(format!("any-input-{}.db", uuid::Uuid::now_v7())))
        .confirm_in(app.pool.clone())
        .delivery(Delivery::Prepared)
        .build()
        .unwrap()
}

#[test]
fn any_input_ends_in_the_trail_after_commit() {
    cases::any_input_ends_in_the_trail(&cases::after_commit);
}

#[test]
fn any_input_ends_in_the_trail_prepared() {
    cases::any_input_ends_in_the_trail(&prepared);
}

#[test]
fn any_input_ends_in_the_trail_transactional() {
    cases::any_input_ends_in_the_trail(&cases::transactional);
}
