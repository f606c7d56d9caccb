//! What the target holds no longer, told without a look at all of it.
//!
//! The target is a list: what was pushed before its first record has left it. A record leaves it
//! after it was stored, so what has left it and is not stored was lost.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// More would say little, and memory is bounded.
const MOST_SAMPLES: usize = 256;

/// The target's first record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Head {
    /// There is none.
    Empty,
    /// It was made at this time, in milliseconds since 1970.
    MadeAt(i64),
    /// Nobody can tell when it was made.
    Unknown,
}

/// How far the journal was carried at a time.
#[derive(Debug, Clone, Copy)]
struct Sample {
    sent_to: i64,
    at: Instant,
    wall_ms: i64,
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
    pub(super) fn note(&mut self, sent_to: i64, at: Instant, wall_ms: i64) {
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
        self.samples.push_back(Sample {
            sent_to,
            at,
            wall_ms,
        });
    }

    /// Whether a look at the target can tell anything.
    pub(super) fn is_wanted(&self, now: Instant) -> bool {
        self.samples.front().is_some_and(|s| self.is_due(s, now))
    }

    /// The target was looked at.
    pub(super) fn saw(&mut self, head: Head, now: Instant) {
        let grace_ms = self.grace.as_millis() as i64;
        while let Some(sample) = self.samples.front()
            && self.is_due(sample, now)
        {
            // The clocks of several machines differ somewhat.
            let gone = match head {
                Head::Empty => true,
                Head::MadeAt(ms) => ms > sample.wall_ms.saturating_add(grace_ms),
                Head::Unknown => false,
            };
            if !gone {
                return;
            }
            self.left_to = sample.sent_to;
            self.samples.pop_front();
        }
    }

    fn is_due(&self, sample: &Sample, now: Instant) -> bool {
        now.saturating_duration_since(sample.at) >= self.grace
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GRACE: Duration = Duration::from_secs(5);

    /// Carried up to 10 at the time 0, and up to 20 ten seconds later.
    fn evidence() -> (Evidence, Instant) {
        let (mut evidence, start) = (Evidence::new(GRACE), Instant::now());
        evidence.note(10, start, 0);
        evidence.note(20, start + 2 * GRACE, 10_000);
        (evidence, start)
    }

    #[test]
    fn an_empty_target_holds_nothing_that_was_carried_before() {
        let (mut evidence, start) = evidence();
        assert!(!evidence.is_wanted(start));
        evidence.saw(Head::Empty, start);
        assert_eq!(evidence.left_to(), 0, "it has its time");
        assert!(evidence.is_wanted(start + GRACE));
        evidence.saw(Head::Empty, start + GRACE);
        assert_eq!(evidence.left_to(), 10);
        evidence.saw(Head::Empty, start + 4 * GRACE);
        assert_eq!(evidence.left_to(), 20);
        assert!(!evidence.is_wanted(start + 9 * GRACE));
    }

    #[test]
    fn what_was_carried_before_the_first_record_was_made_has_left() {
        let (mut evidence, start) = evidence();
        let later = start + 9 * GRACE;
        evidence.saw(Head::Unknown, later);
        evidence.saw(Head::MadeAt(4_000), later);
        assert_eq!(evidence.left_to(), 0);
        evidence.saw(Head::MadeAt(6_000), later);
        assert_eq!(evidence.left_to(), 10);
        evidence.saw(Head::MadeAt(14_000), later);
        assert_eq!(evidence.left_to(), 10);
        evidence.saw(Head::MadeAt(16_000), later);
        assert_eq!(evidence.left_to(), 20);
    }

    #[test]
    fn its_memory_is_bounded() {
        let (mut evidence, start) = evidence();
        for n in 3..10_000 {
            evidence.note(n * 10, start + GRACE * n as u32, n * 5_000);
        }
        assert!(evidence.samples.len() <= MOST_SAMPLES);
        evidence.saw(Head::Empty, start + GRACE * 20_000);
        assert_eq!(evidence.left_to(), 99_990);
    }
}
