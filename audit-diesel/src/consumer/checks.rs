//! Saying once what is set up so that records could be lost.

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use audit_core::{QueueError, Warning};

use crate::log::log;

/// How soon a server that could not be asked is asked again.
const RETRY: Duration = Duration::from_secs(30);

/// Asks until somebody answers.
#[derive(Debug, Default)]
pub(super) struct Checks {
    done: bool,
    retry_at: Option<Instant>,
}

impl Checks {
    /// Asks, unless that was done, or was tried a moment ago.
    pub(super) fn run(&mut self, ask: impl FnOnce() -> Result<Vec<Warning>, QueueError>) {
        let now = Instant::now();
        if self.done || self.retry_at.is_some_and(|at| now < at) {
            return;
        }
        match ask() {
            Ok(warnings) => {
                say(&warnings);
                self.done = true;
            }
            // Who uses the server says what is wrong with it.
            Err(_) => self.retry_at = Some(now + RETRY),
        }
    }
}

/// Says the warnings that this process has not said yet: an auditor, its forwarder and a consumer
/// may look at the same server.
pub(crate) fn say(warnings: &[Warning]) {
    static SAID: Mutex<Option<HashSet<Warning>>> = Mutex::new(None);
    // Whoever writes them down may be slow, or look at warnings as well.
    let is_new = |warning: &&Warning| {
        let mut said = SAID.lock().unwrap_or_else(PoisonError::into_inner);
        said.get_or_insert_default().insert((*warning).clone())
    };
    for warning in warnings.iter().filter(is_new) {
        log!(warn, "{warning}");
    }
}
