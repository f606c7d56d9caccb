//! How far the flushes that somebody waits for have come.

use std::collections::VecDeque;

use audit_core::Payload;

/// Counts down what stood in the queue when a flush was asked for.
///
/// Other consumers take payloads away as well. What they took shows at the next peek: whatever
/// stood before the new head of the queue is stored. A count that is too low only makes a flush
/// wait for an empty queue.
#[derive(Debug, Default)]
pub(super) struct Flushes {
    noted: u64,
    waiting: VecDeque<Waiting>,
    /// What the latest peek saw, unless this worker took it away itself.
    head: Vec<Payload>,
}

#[derive(Debug)]
struct Waiting {
    ticket: u64,
    ahead: u64,
}

impl Flushes {
    /// The latest flush that is counted.
    pub(super) fn noted(&self) -> u64 {
        self.noted
    }

    /// A flush was asked for before the queue was found to be this long.
    pub(super) fn note(&mut self, ticket: u64, queue_length: u64) {
        self.noted = ticket;
        // What was taken away before is not in the length: the next peek must not count it again.
        self.head.clear();
        let ahead = queue_length;
        self.waiting.push_back(Waiting { ticket, ahead });
    }

    /// The head of the queue looks like this now.
    pub(super) fn peeked(&mut self, head: &[Payload]) {
        if self.waiting.is_empty() {
            self.head.clear();
            return;
        }
        let taken = match head.first() {
            None => u64::MAX,
            Some(first) => {
                let place = self.head.iter().position(|payload| payload == first);
                place.unwrap_or(self.head.len()) as u64
            }
        };
        self.count(taken);
        self.head = head.to_vec();
    }

    /// This worker took so many away. None: another one was faster, and the next peek tells.
    pub(super) fn acknowledged(&mut self, payloads: usize) {
        if payloads > 0 {
            self.count(payloads as u64);
            self.head.clear();
        }
    }

    /// Payloads went back to the end of the queue: everybody waits for these too.
    pub(super) fn put_off(&mut self, queue_length: u64) {
        for waiting in &mut self.waiting {
            waiting.ahead = queue_length;
        }
    }

    /// The latest flush that is done, if any is since the last call.
    pub(super) fn done(&mut self) -> Option<u64> {
        let mut done = None;
        while self.waiting.front().is_some_and(|first| first.ahead == 0) {
            done = self.waiting.pop_front().map(|first| first.ticket);
        }
        done
    }

    fn count(&mut self, taken: u64) {
        for waiting in &mut self.waiting {
            waiting.ahead = waiting.ahead.saturating_sub(taken);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn payloads(numbers: std::ops::Range<u8>) -> Vec<Payload> {
        numbers.map(|n| Payload::from(vec![n])).collect()
    }

    #[test]
    fn what_others_take_counts() {
        let mut flushes = Flushes::default();
        flushes.note(1, 5);
        flushes.peeked(&payloads(0..3));
        flushes.peeked(&payloads(2..6));
        assert_eq!(flushes.done(), None);
        flushes.peeked(&payloads(8..9));
        assert_eq!(flushes.done(), Some(1));
        assert_eq!(flushes.done(), None);
    }

    #[test]
    fn an_unchanged_head_counts_nothing_and_an_empty_queue_everything() {
        let mut flushes = Flushes::default();
        flushes.note(1, 2);
        for _ in 0..5 {
            flushes.peeked(&payloads(0..2));
            flushes.acknowledged(0);
            assert_eq!(flushes.done(), None);
        }
        flushes.note(2, 9);
        flushes.peeked(&[]);
        assert_eq!(flushes.done(), Some(2));
    }

    #[test]
    fn what_was_taken_before_a_flush_does_not_count() {
        let mut flushes = Flushes::default();
        flushes.note(1, 9);
        flushes.peeked(&payloads(0..3));
        flushes.note(2, 2);
        flushes.peeked(&payloads(7..9));
        assert_eq!(flushes.done(), None);
    }

    #[test]
    fn each_flush_waits_for_its_own_part() {
        let mut flushes = Flushes::default();
        flushes.note(1, 2);
        flushes.note(2, 4);
        flushes.peeked(&payloads(0..2));
        flushes.acknowledged(2);
        assert_eq!(flushes.done(), Some(1));
        flushes.peeked(&payloads(2..4));
        assert_eq!(flushes.done(), None);
        flushes.acknowledged(2);
        assert_eq!(flushes.done(), Some(2));
    }

    #[test]
    fn what_is_put_off_is_waited_for() {
        let mut flushes = Flushes::default();
        flushes.note(1, 2);
        flushes.peeked(&payloads(0..2));
        flushes.acknowledged(2);
        flushes.put_off(1);
        assert_eq!(flushes.done(), None);
    }
}
