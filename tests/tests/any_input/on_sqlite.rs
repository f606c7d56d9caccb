use audit_tests::app::sqlite::*;

#[path = "cases.rs"]
mod cases;

/// What the table of the application takes.
fn row_text(text: &str) -> String {
    text.to_owned()
}

#[test]
fn any_input_ends_in_the_trail_after_commit() {
    cases::any_input_ends_in_the_trail(&cases::after_commit);
}

#[test]
fn any_input_ends_in_the_trail_transactional() {
    cases::any_input_ends_in_the_trail(&cases::transactional);
}
