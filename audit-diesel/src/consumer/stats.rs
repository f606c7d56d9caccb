use std::time::SystemTime;

/// What a consumer did since it was started.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct ConsumerStats {
    /// Records stored.
    pub stored: u64,
    /// Records that were stored already: redeliveries.
    pub duplicates: u64,
    /// Records put into `audit_quarantine`.
    pub quarantined: u64,
    /// Of these, the ones that ended the connection each time that they were stored.
    pub poison: u64,
    /// Of the quarantined ones, those whose id a stored record has that says something else: somebody
    /// makes records up, or changes them on their way.
    pub contradicting: u64,
    /// Records dropped because the database says that their transaction was rolled back.
    pub rolled_back: u64,
    /// Batches committed.
    pub batches: u64,
    /// Times that a batch was put off because the queue or the database was not available.
    pub outages: u64,
    /// Panics of the consumer's thread. It goes on after one; it is a defect all the same.
    pub panics: u64,
    /// The problem of the latest try, gone once a try succeeds.
    pub last_error: Option<String>,
    /// Since when every try has failed; none once a try succeeds.
    pub failing_since: Option<SystemTime>,
    /// Whether the thread runs.
    pub running: bool,
}

impl ConsumerStats {
    /// A try has failed.
    pub(super) fn note_failure(&mut self, problem: String) {
        self.last_error = Some(problem);
        self.failing_since.get_or_insert_with(SystemTime::now);
    }

    /// A try has succeeded.
    pub(super) fn note_success(&mut self) {
        self.last_error = None;
        self.failing_since = None;
    }
}
