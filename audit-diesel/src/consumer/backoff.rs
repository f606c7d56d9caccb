use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

const FIRST: Duration = Duration::from_millis(100);

/// How long to wait after the `failures`th failure in a row: twice as long each time, up to
/// `longest`, of which a random part is waited, so that several consumers do not come back at once.
/// ("Full jitter", with half of it kept as a floor.)
pub(super) fn delay(failures: u32, longest: Duration) -> Duration {
    let longest = FIRST
        .saturating_mul(2_u32.saturating_pow(failures.saturating_sub(1)))
        .min(longest);
    let half = longest / 2;
    half + half.mul_f64(random_fraction())
}

/// A number in 0..1; the hasher's keys are random.
pub(super) fn random_fraction() -> f64 {
    let random = RandomState::new().hash_one(0_u8);
    f64::from((random >> 32) as u32) / f64::from(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONGEST: Duration = Duration::from_secs(30);

    #[test]
    fn delays_grow_to_a_bound_and_differ() {
        assert!(delay(1, LONGEST) >= FIRST / 2 && delay(1, LONGEST) <= FIRST);
        assert!(delay(1_000, LONGEST) >= LONGEST / 2 && delay(1_000, LONGEST) <= LONGEST);
        let several: std::collections::HashSet<_> = (0..20).map(|_| delay(5, LONGEST)).collect();
        assert!(several.len() > 1);
    }
}
