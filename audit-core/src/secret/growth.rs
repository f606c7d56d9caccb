//! That what anybody may send is read in a time that grows with its length, and no faster.

use std::time::{Duration, Instant};

/// How long the shorter text is, in bytes, and how many times that the longer one.
const SHORT: usize = 1 << 14;
const FACTOR: u32 = 8;

/// What a busy machine adds.
const NOISE: Duration = Duration::from_millis(50);

/// Reads a text that has the part again and again, and one that is eight times as long: what looked
/// back or ahead from each place would take 64 times as long.
pub(super) fn assert_grows_with_length(part: &str, read: impl Fn(&str)) {
    let time = |bytes: usize| {
        let text = part.repeat(bytes / part.len());
        let once = |_| {
            let begin = Instant::now();
            read(&text);
            begin.elapsed()
        };
        (0..3).map(once).min().unwrap_or_default()
    };
    let (short, long) = (time(SHORT), time(SHORT * FACTOR as usize));
    assert!(
        long < short * FACTOR * 3 + NOISE,
        "{part:?}: {short:?}, and {long:?} for {FACTOR} times as much"
    );
}
