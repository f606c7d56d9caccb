//! How far what was carried on has left the target.
//!
//! The target is a list: what was pushed before a payload leaves it before that payload does. So
//! from time to time the payload that was carried last is noted, and the target is asked later
//! whether it still holds it. No clock but this process's own is looked at, and that one only to
//! give records their time.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// More would say little, and memory is bounded.
const MOST_SAMPLES: usize = 256;

/// How far the journal was carried at a time.
#[derive(Debug, Clone, Copy)]
struct Sample {
    sent_to: i64,
    at: Instant,
}

/// How far what was carried has left the target.
#[derive(Debug)]
pub(super) struct Evidence {
    grace: Duration,
    samples: VecDeque<Sample>,
    left_to: i64,
}

impl Evidence {
    pub(super) fn new(grace: Duration) -> Self {
        Self {
            grace,
            samples: VecDeque::new(),
            left_to: 0,
        }
    }

    /// What is numbered lower has left the target.
    pub(super) fn left_to(&self) -> i64 {
        self.left_to
    }

    /// The journal has been carried this far.
    pub(super) fn note(&mut self, sent_to: i64, at: Instant) {
        let latest = self.samples.back().map_or(self.left_to, |s| s.sent_to);
        if sent_to <= latest {
            return;
        }
        if self.samples.len() == MOST_SAMPLES {
            let mut number = 0;
            self.samples.retain(|_| {
                number += 1;
                number % 2 == 0
            });
        }
        self.samples.push_back(Sample { sent_to, at });
    }

    /// What to ask the target for: how far the journal was carried at the times that are long
    /// enough ago, lowest first.
    pub(super) fn due(&self, now: Instant) -> Vec<i64> {
        let is_due = |s: &&Sample| now.saturating_duration_since(s.at) >= self.grace;
        let due = self.samples.iter().take_while(is_due);
        due.map(|sample| sample.sent_to).collect()
    }

    /// What is numbered lower was found to have left the target.
    pub(super) fn left(&mut self, left_to: i64) {
        self.left_to = self.left_to.max(left_to);
        let left_to = self.left_to;
        self.samples.retain(|sample| sample.sent_to > left_to);
    }

    /// The target cannot be asked for what was carried last at that time: another time has to tell.
    pub(super) fn forget(&mut self, sent_to: i64) {
        self.samples.retain(|sample| sample.sent_to != sent_to);
    }
}

/// The highest of the numbers that has left, asking about few of them: where one has left, so have
/// those before it.
pub(super) fn highest_left<E>(
    due: &[i64],
    mut has_left: impl FnMut(i64) -> Result<bool, E>,
) -> Result<Option<i64>, E> {
    let (mut left, mut held) = (0, due.len());
    while left < held {
        // The first one is the most likely to be the answer: a backlog moves slowly.
        let middle = if left == 0 && held == due.len() {
            0
        } else {
            left + (held - left) / 2
        };
        if has_left(due[middle])? {
            left = middle + 1;
        } else {
            held = middle;
        }
    }
    Ok(left.checked_sub(1).map(|last| due[last]))
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;

    const GRACE: Duration = Duration::from_secs(5);

    #[test]
    fn what_was_carried_is_asked_for_once_it_had_its_time() {
        let (mut evidence, start) = (Evidence::new(GRACE), Instant::now());
        evidence.note(10, start);
        evidence.note(20, start + 2 * GRACE);
        assert!(evidence.due(start).is_empty());
        assert_eq!(evidence.due(start + GRACE), [10]);
        assert_eq!(evidence.due(start + 3 * GRACE), [10, 20]);
        evidence.left(10);
        assert_eq!(evidence.left_to(), 10);
        assert_eq!(evidence.due(start + 3 * GRACE), [20]);
    }

    #[test]
    fn what_has_left_is_not_noted_again() {
        let (mut evidence, start) = (Evidence::new(GRACE), Instant::now());
        evidence.note(10, start);
        evidence.note(10, start + GRACE);
        evidence.left(10);
        evidence.note(10, start + 2 * GRACE);
        assert!(evidence.due(start + 9 * GRACE).is_empty());
    }

    #[test]
    fn the_highest_that_has_left_is_found_with_few_questions() {
        for count in 0..300_usize {
            let due: Vec<_> = (1..=count as i64).map(|n| n * 10).collect();
            for gone in [0, 1, count / 3, count.saturating_sub(1), count] {
                let (mut asked, last) = (0, gone as i64 * 10);
                let found = highest_left(&due, |sent_to| {
                    asked += 1;
                    Ok::<_, Infallible>(sent_to <= last)
                });
                let expected = due.iter().copied().rfind(|n| *n <= last);
                assert_eq!(found, Ok(expected), "{gone} of {count}");
                assert!(asked <= 11, "{asked} questions");
            }
        }
    }

    #[test]
    fn its_memory_is_bounded() {
        let (mut evidence, start) = (Evidence::new(GRACE), Instant::now());
        for n in 1..10_000 {
            evidence.note(n * 10, start + GRACE * n as u32);
        }
        assert!(evidence.samples.len() <= MOST_SAMPLES);
        assert_eq!(
            evidence.due(start + GRACE * 20_000).last(),
            Some(&99_990),
            "the latest is kept"
        );
    }
}
