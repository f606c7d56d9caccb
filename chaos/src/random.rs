//! All choices of a run come from one seed.

use std::ops::Range;

/// SplitMix64: small, and good enough to choose faults with.
#[derive(Debug, Clone)]
pub struct Random(u64);

impl Random {
    /// A stream that depends on all of the numbers, and on nothing else.
    pub fn of(numbers: &[u64]) -> Self {
        let mut random = Self(0x9e37_79b9_7f4a_7c15);
        for number in numbers {
            random.0 = random.next() ^ number;
        }
        random
    }

    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number of the range, which must not be empty.
    pub fn within(&mut self, range: Range<u64>) -> u64 {
        range.start + self.next() % (range.end - range.start)
    }

    /// True once in `n` times.
    pub fn one_in(&mut self, n: u64) -> bool {
        self.next().is_multiple_of(n)
    }

    /// One of the choices, which must not be empty.
    pub fn choose<'a, T>(&mut self, choices: &'a [T]) -> &'a T {
        &choices[self.within(0..choices.len() as u64) as usize]
    }
}
