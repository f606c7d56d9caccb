//! Why a pass over the queue failed, as far as that says what to do next.

use super::Undelivered;

/// Why a pass failed.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) problem: String,
    /// Whether it cannot be over by itself.
    pub(super) needs_somebody: bool,
    /// Whether a smaller batch is tried next, which may go through at once.
    pub(super) shrinks: bool,
}

impl Failure {
    /// A batch was not delivered.
    pub(super) fn of(undelivered: Undelivered, shrinks: bool) -> Self {
        Self {
            needs_somebody: matches!(undelivered, Undelivered::Unusable(_)),
            shrinks,
            problem: undelivered.into(),
        }
    }
}

/// Something is away.
impl From<String> for Failure {
    fn from(problem: String) -> Self {
        Self {
            problem,
            needs_somebody: false,
            shrinks: false,
        }
    }
}
