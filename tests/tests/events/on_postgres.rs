use audit_tests::app::postgres::*;

#[path = "cases.rs"]
mod cases;
