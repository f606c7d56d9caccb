//! Keeps the panics of what we call from whoever calls us: a queue, a TLS library, a `tracing`
//! subscriber. A queue is pushed to inside of the application's COMMIT, where a panic would look as
//! if the COMMIT had failed.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Runs it; a panic becomes its message.
pub(crate) fn caught<T>(run: impl FnOnce() -> T) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(run)).map_err(message)
}

/// What a panic said. It is disposed of: to drop what somebody panicked with runs their code, which
/// may panic again.
pub(crate) fn message(panic: Box<dyn Any + Send>) -> String {
    let said = panic
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| panic.downcast_ref::<String>().cloned());
    if let Err(again) = catch_unwind(AssertUnwindSafe(|| drop(panic))) {
        // Nobody can say how often that would go on; it leaks instead.
        std::mem::forget(again);
    }
    said.unwrap_or_else(|| "a panic without a message".to_owned())
}

#[cfg(test)]
#[expect(clippy::panic, reason = "tests")]
mod tests {
    use std::panic::panic_any;

    use super::*;

    struct Bomb(u32);

    impl Drop for Bomb {
        fn drop(&mut self) {
            if self.0 > 0 {
                panic_any(Self(self.0 - 1));
            }
        }
    }

    #[test]
    fn what_somebody_panicked_with_may_panic_when_it_is_dropped() {
        assert_eq!(caught(|| 1), Ok(1));
        let said = caught(|| panic!("number {}", 7));
        assert_eq!(said, Err::<(), _>("number 7".to_owned()));
        let said = caught(|| panic_any(Bomb(3)));
        assert_eq!(said, Err::<(), _>("a panic without a message".to_owned()));
    }
}
