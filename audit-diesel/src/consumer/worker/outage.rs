//! How long a worker has been failing, and when that is said: as it begins, once a minute while it
//! lasts, and when it is over.

use std::time::{Duration, Instant};

/// How soon a failure that lasts is said again.
const SAID_EVERY: Duration = Duration::from_secs(60);

/// Failures in a row.
#[derive(Debug, Default)]
pub(super) struct Outage {
    since: Option<Instant>,
    said: Option<Instant>,
}

impl Outage {
    /// Notes a failure, and says whether it is time to say so, and how long this has lasted.
    pub(super) fn failed(&mut self, now: Instant) -> Option<Duration> {
        let since = *self.since.get_or_insert(now);
        let is_due = |said| now.saturating_duration_since(said) >= SAID_EVERY;
        if !self.said.is_none_or(is_due) {
            return None;
        }
        self.said = Some(now);
        Some(now.saturating_duration_since(since))
    }

    /// Notes that it is over, and says how long it has lasted, if it was said that it had begun.
    pub(super) fn ended(&mut self, now: Instant) -> Option<Duration> {
        let Self { since, said } = std::mem::take(self);
        said.and(since).map(|at| now.saturating_duration_since(at))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_is_said_as_it_begins_once_a_minute_and_when_it_is_over() {
        let (mut outage, start) = (Outage::default(), Instant::now());
        let at = |seconds| start + Duration::from_secs(seconds);
        assert_eq!(outage.ended(at(0)), None);
        assert_eq!(outage.failed(at(0)), Some(Duration::ZERO));
        for second in 1..60 {
            assert_eq!(outage.failed(at(second)), None);
        }
        assert_eq!(outage.failed(at(60)), Some(Duration::from_secs(60)));
        assert_eq!(outage.failed(at(61)), None);
        assert_eq!(outage.failed(at(200)), Some(Duration::from_secs(200)));
        assert_eq!(outage.ended(at(201)), Some(Duration::from_secs(201)));
        assert_eq!(outage.ended(at(202)), None);
        assert_eq!(outage.failed(at(203)), Some(Duration::ZERO));
    }
}
