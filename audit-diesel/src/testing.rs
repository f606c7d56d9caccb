//! For tests: what a queue of your own has to pass.

mod conformance;

pub use conformance::queue_conformance;
