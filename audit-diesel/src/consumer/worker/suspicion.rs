//! How far the search for a payload that ends its connection has come.

use std::time::Duration;

use audit_core::Payload;

/// How often in a row the same batch is cut off before smaller ones are tried.
const PATIENCE: u32 = 3;

/// How often in a row a payload has to be cut off alone, between two controls that hold.
pub(super) const ROUNDS: u32 = 6;

/// Narrows a batch down to one payload, by halves. That much is harmless, and an outage causes it
/// too.
#[derive(Debug)]
pub(super) enum Suspicion {
    /// None. So often was a batch that begins so cut off in a row.
    None { cuts: u32, first: Option<Payload> },
    /// One of so many first payloads may end its connection.
    Among(usize),
    /// It was found, or there is none: batches grow again from this size on.
    Growing(usize),
    /// This one was cut off while it was alone.
    Alone(Suspect),
}

/// A payload that may end its connection, by itself.
#[derive(Debug, Clone)]
pub(super) struct Suspect {
    pub(super) payload: Payload,
    /// How often it did so, in a row, between two controls.
    pub(super) rounds: u32,
    /// It did so again, within this time, and the control that has to hold next is missing.
    pub(super) cut_after: Option<Duration>,
    pub(super) problem: String,
}

impl Default for Suspicion {
    fn default() -> Self {
        Self::None {
            cuts: 0,
            first: None,
        }
    }
}

impl Suspicion {
    /// How many payloads to take at once, where that is fewer than usual.
    pub(super) fn limit(&self) -> Option<usize> {
        match self {
            Self::None { .. } => None,
            Self::Among(suspects) => Some((suspects / 2).max(1)),
            Self::Growing(limit) => Some(*limit),
            Self::Alone(_) => Some(1),
        }
    }

    /// The suspect, if it stands first in the queue.
    pub(super) fn suspect(&mut self, first: &Payload) -> Option<&mut Suspect> {
        match self {
            Self::Alone(suspect) if suspect.payload == *first => Some(suspect),
            _ => None,
        }
    }

    /// The connection was closed while it carried these.
    pub(super) fn cut(&mut self, payloads: &[Payload]) {
        let first = payloads.first();
        if let Self::None { cuts, first: known } = self {
            *cuts = if known.as_ref() == first {
                *cuts + 1
            } else {
                1
            };
            *known = first.cloned();
            if *cuts < PATIENCE {
                return;
            }
        }
        *self = match payloads {
            [alone] => Self::Alone(Suspect {
                payload: alone.clone(),
                rounds: 0,
                cut_after: None,
                problem: String::new(),
            }),
            _ => Self::Among(payloads.len()),
        };
    }

    /// So many are delivered, or set aside.
    pub(super) fn delivered(&mut self, payloads: usize, usual_limit: usize) {
        *self = match self {
            Self::Among(suspects) if *suspects > payloads => Self::Among(*suspects - payloads),
            Self::None { .. } => Self::default(),
            Self::Alone(_) => Self::Growing(1),
            _ if payloads.saturating_mul(2) < usual_limit => Self::Growing(payloads.max(1) * 2),
            _ => Self::default(),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const USUAL: usize = 1_000;

    fn payloads(numbers: std::ops::Range<u32>) -> Vec<Payload> {
        numbers
            .map(|n| Payload::from(n.to_be_bytes().to_vec()))
            .collect()
    }

    /// Plays a queue in which some payloads end their connection; the tries until each is found.
    fn search(length: u32, poison: &[u32]) -> Vec<(u32, u32)> {
        let (mut suspicion, mut head, mut tries) = (Suspicion::default(), 0, 0);
        let mut found = Vec::new();
        while head < length {
            tries += 1;
            let limit = suspicion.limit().unwrap_or(USUAL) as u32;
            let end = length.min(head + limit);
            let batch = payloads(head..end);
            if suspicion.suspect(&batch[0]).is_some() {
                assert!(poison.contains(&head));
                found.push((head, tries));
                tries = 0;
                suspicion.delivered(1, USUAL);
                head += 1;
            } else if (head..end).any(|n| poison.contains(&n)) {
                suspicion.cut(&batch);
            } else {
                suspicion.delivered(batch.len(), USUAL);
                head = end;
            }
        }
        found
    }

    #[test]
    fn each_poison_is_found_wherever_it_stands() {
        for place in [0, 1, 499, 500, 777, 998, 999, 1_500] {
            let found = search(2_000, &[place]);
            assert_eq!(found.len(), 1, "{found:?}");
            assert!(found[0].1 <= 20, "{found:?}");
        }
        assert_eq!(search(1_000, &[300, 301]).len(), 2);
        let all: Vec<_> = (0..50).collect();
        let found = search(50, &all);
        assert_eq!(found.len(), 50);
        // Those behind the first are found at once.
        assert!(found[1..].iter().all(|(_, tries)| *tries <= 2), "{found:?}");
    }

    #[test]
    fn it_ends_with_whole_batches() {
        let mut suspicion = Suspicion::default();
        let batch = payloads(0..1_000);
        for _ in 0..PATIENCE {
            assert!(suspicion.limit().is_none());
            suspicion.cut(&batch);
        }
        assert_eq!(suspicion.limit(), Some(500));
        let mut tries = 0;
        while let Some(limit) = suspicion.limit() {
            suspicion.delivered(limit, USUAL);
            tries += 1;
            assert!(tries < 30);
        }
    }

    #[test]
    fn different_batches_are_no_reason() {
        let mut suspicion = Suspicion::default();
        for n in 0..50 {
            suspicion.cut(&payloads(n..n + 5));
        }
        assert!(suspicion.limit().is_none());
        suspicion.cut(&payloads(0..5));
        suspicion.delivered(5, USUAL);
        suspicion.cut(&payloads(0..5));
        suspicion.cut(&payloads(0..5));
        assert!(suspicion.limit().is_none());
    }
}
