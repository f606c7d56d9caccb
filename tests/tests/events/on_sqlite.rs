use audit_tests::app::sqlite::*;

#[path = "cases.rs"]
mod cases;
