use audit_tests::app::postgres::*;

#[path = "attaching.rs"]
mod attaching;
#[path = "bounds.rs"]
mod bounds;
#[path = "model.rs"]
mod model;
#[path = "panics.rs"]
mod panics;
#[path = "raw_control.rs"]
mod raw_control;
#[path = "transactions.rs"]
mod transactions;
