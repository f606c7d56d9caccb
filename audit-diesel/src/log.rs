//! What is said to `tracing`.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// Says something through `tracing`, at this level. A subscriber that panics must not reach the
/// application's statement, nor end a thread that delivers.
macro_rules! log {
    ($level:ident, $($what:tt)*) => {
        drop(::std::panic::catch_unwind(::std::panic::AssertUnwindSafe(|| {
            ::tracing::$level!($($what)*);
        })).map_err($crate::panics::message))
    };
}
pub(crate) use log;

/// How often the same trouble is said, while it lasts.
const AGAIN_AFTER: Duration = Duration::from_secs(60);

/// Lets the same thing be said once a minute, however often it happens.
#[derive(Debug, Default)]
pub(crate) struct Seldom {
    /// In milliseconds since the first use of any, plus one; 0: never.
    said_at: AtomicU64,
}

impl Seldom {
    /// Whether to say it now. True for one caller.
    pub(crate) fn is_due(&self) -> bool {
        static START: OnceLock<Instant> = OnceLock::new();
        let since = START.get_or_init(Instant::now).elapsed().as_millis();
        let now = u64::try_from(since)
            .unwrap_or(u64::MAX - 1)
            .saturating_add(1);
        let said_at = self.said_at.load(Relaxed);
        let is_due = said_at == 0 || now - said_at.min(now) >= AGAIN_AFTER.as_millis() as u64;
        is_due
            && self
                .said_at
                .compare_exchange(said_at, now, Relaxed, Relaxed)
                .is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_is_said_once_a_minute() {
        let seldom = Seldom::default();
        assert!(seldom.is_due());
        assert!(!seldom.is_due() && !seldom.is_due());
    }
}
