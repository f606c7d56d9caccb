//! For how long another worker has been at the same payloads: one that works takes them away, and one
//! that is frozen, or whose host is gone, does not.

use std::time::{Duration, Instant};

use audit_core::Payload;

/// A batch takes less, unless something is wrong.
const PATIENCE: Duration = Duration::from_secs(10);

/// What this worker sees while it stands by.
#[derive(Debug, Default)]
pub(super) struct StandBy(Option<Seen>);

#[derive(Debug)]
struct Seen {
    since: Instant,
    first: Payload,
    at_work: Option<String>,
}

impl StandBy {
    /// Another worker is at it, and this stands first in the queue.
    pub(super) fn seen(&mut self, now: Instant, first: &Payload, at_work: Option<String>) {
        let since = match &self.0 {
            Some(seen) if seen.first == *first && seen.at_work == at_work => seen.since,
            _ => now,
        };
        self.0 = Some(Seen {
            since,
            first: first.clone(),
            at_work,
        });
    }

    /// Nobody else is at it.
    pub(super) fn ended(&mut self) {
        self.0 = None;
    }

    /// What is wrong, once this takes too long.
    pub(super) fn problem(&self, now: Instant) -> Option<String> {
        let seen = self.0.as_ref()?;
        let lasts = now.saturating_duration_since(seen.since);
        (lasts >= PATIENCE).then(|| {
            let at_work = seen.at_work.as_deref().unwrap_or("another process");
            format!(
                "stands by for {} s, as {at_work} is at work on this queue, and has stored nothing of it \
                 meanwhile",
                lasts.as_secs()
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_who_takes_nothing_away_for_long_is_a_problem() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let [one, two] = [b"1", b"2"].map(|bytes| Payload::from(bytes.to_vec()));
        let backend = || Some("backend 7".to_owned());
        let mut stand_by = StandBy::default();
        assert_eq!(stand_by.problem(at(0)), None);
        for second in 0..30 {
            let first = if second < 15 { &one } else { &two };
            stand_by.seen(at(second), first, backend());
            let problem = stand_by.problem(at(second));
            assert_eq!(problem.is_some(), second % 15 >= 10, "{second}");
            if let Some(problem) = problem {
                assert!(problem.contains("backend 7"), "{problem}");
            }
        }
        // Another one took over.
        stand_by.seen(at(30), &two, Some("backend 8".to_owned()));
        assert_eq!(stand_by.problem(at(30)), None);
        stand_by.seen(at(40), &two, Some("backend 8".to_owned()));
        assert!(stand_by.problem(at(40)).is_some());
        stand_by.ended();
        assert_eq!(stand_by.problem(at(50)), None);
    }
}
