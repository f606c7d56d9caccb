//! For tests: an auditor whose records an application's tests can look at, and what a queue of your
//! own has to pass.

mod audit;
mod conformance;

pub use audit::{TestAudit, line};
pub use conformance::queue_conformance;
