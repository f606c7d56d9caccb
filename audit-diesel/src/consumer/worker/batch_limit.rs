//! How many payloads are tried at once after tries that failed: what is too much for a time limit, a
//! lock or the memory of the other side may go through in smaller batches.
//!
//! Half as many after each failure, and an eighth more after each success, as TCP does it: about six
//! batches go through for each one that turns out to be too large again.

/// The size of the next batch, where it is smaller than usual.
#[derive(Debug, Default)]
pub(super) struct BatchLimit {
    limit: Option<usize>,
    failures: u32,
}

/// The first failure in a row may be anything.
const PATIENCE: u32 = 2;

impl BatchLimit {
    pub(super) fn limit(&self) -> Option<usize> {
        self.limit
    }

    /// Whether a smaller batch is still to be tried.
    pub(super) fn is_shrinking(&self) -> bool {
        self.failures > 0 && self.limit.is_some_and(|limit| limit > 1)
    }

    /// So many payloads were tried at once, and that failed.
    pub(super) fn failed(&mut self, payloads: usize) {
        self.failures = self.failures.saturating_add(1);
        if self.failures >= PATIENCE || self.limit.is_some() {
            self.limit = Some((payloads / 2).max(1));
        }
    }

    /// A batch went through.
    pub(super) fn delivered(&mut self, usual_limit: usize) {
        self.failures = 0;
        let grown = self.limit.map(|limit| limit + (limit / 8).max(1));
        self.limit = grown.filter(|limit| *limit < usual_limit);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const USUAL: usize = 1_000;

    /// Plays a queue of which so many payloads go through at once; the tries, and how many failed.
    fn play(mut left: usize, mut fits: impl FnMut() -> usize) -> (u32, u32) {
        let (mut limit, mut tries, mut failed) = (BatchLimit::default(), 0, 0);
        while left > 0 {
            tries += 1;
            assert!(tries < 10_000);
            let batch = limit.limit().unwrap_or(USUAL).min(left);
            if batch <= fits() {
                limit.delivered(USUAL);
                left -= batch;
            } else {
                limit.failed(batch);
                failed += 1;
            }
        }
        (tries, failed)
    }

    #[test]
    fn whatever_goes_through_at_once_is_found() {
        for fits in [1, 2, 7, 24, 100, 501, 999] {
            let (tries, failed) = play(2_000, || fits);
            let least = 2_000_usize.div_ceil(fits) as u32;
            assert!(tries <= 2 * least + 12, "{tries} for {fits}");
            assert!(failed <= tries / 2 + 6, "{failed} of {tries} for {fits}");
        }
        assert_eq!(play(5_000, || USUAL), (5, 0));
    }

    #[test]
    fn it_grows_back_to_whole_batches() {
        let mut limit = BatchLimit::default();
        for _ in 0..20 {
            limit.failed(limit.limit().unwrap_or(USUAL));
        }
        assert_eq!(limit.limit(), Some(1));
        let mut tries = 0;
        while limit.limit().is_some() {
            limit.delivered(USUAL);
            tries += 1;
        }
        assert!(tries < 60, "{tries}");
    }

    #[test]
    fn one_failure_is_no_reason() {
        let mut limit = BatchLimit::default();
        for _ in 0..5 {
            limit.failed(USUAL);
            assert_eq!(limit.limit(), None);
            limit.delivered(USUAL);
        }
    }
}
