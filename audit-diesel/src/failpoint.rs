//! Named points where a process of the chaos suite ends itself, or panics, so that each place between
//! two durable steps is hit on purpose and not by luck. Without the feature `failpoints` they are
//! nothing.

/// A point that a process may end at: a name, or who passes and a name.
macro_rules! failpoint {
    ($name:expr) => {
        #[cfg(feature = "failpoints")]
        $crate::failpoint::pass($name);
    };
    ($who:expr, $name:expr) => {
        #[cfg(feature = "failpoints")]
        $crate::failpoint::pass(&format!("{}.{}", $who, $name));
    };
}

pub(crate) use failpoint;

#[cfg(feature = "failpoints")]
mod armed {
    use std::cell::Cell;
    use std::process::Command;
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::time::Duration;

    /// `name:n` ends the process when it passes the point for the nth time.
    const ENDS: &str = "AUDIT_FAILPOINT";

    /// `name:n` panics each nth time that the point is passed, as a library that is called there may; not
    /// twice in a row on one thread: what panics at each try is as if it were not there.
    const PANICS: &str = "AUDIT_PANICPOINT";

    struct Armed {
        name: String,
        nth: u64,
        passed: AtomicU64,
    }

    /// Passes a point.
    pub(crate) fn pass(name: &str) {
        static ENDING: OnceLock<Option<Armed>> = OnceLock::new();
        static PANICKING: OnceLock<Option<Armed>> = OnceLock::new();
        let nth = |armed: &Option<Armed>| armed.as_ref().is_some_and(|it| it.is_nth(name));
        if nth(ENDING.get_or_init(|| read(ENDS))) {
            end();
        }
        let panicking = PANICKING.get_or_init(|| read(PANICS));
        if panicking.as_ref().is_some_and(|it| it.panics_at(name)) {
            panic_here(name);
        }
    }

    thread_local! {
        /// Whether this thread has panicked when it passed the point the last time.
        static PANICKED: Cell<bool> = const { Cell::new(false) };
    }

    impl Armed {
        /// Whether the point is passed for the nth time, the 2nth, and so on.
        fn is_nth(&self, name: &str) -> bool {
            self.name == name
                && (self.passed.fetch_add(1, Ordering::SeqCst) + 1).is_multiple_of(self.nth)
        }

        fn panics_at(&self, name: &str) -> bool {
            if self.name != name {
                return false;
            }
            let panics = self.is_nth(name) && !PANICKED.get();
            PANICKED.set(panics);
            panics
        }
    }

    fn read(variable: &str) -> Option<Armed> {
        let text = std::env::var(variable).ok()?;
        let (name, nth) = text.rsplit_once(':')?;
        Some(Armed {
            name: name.to_owned(),
            nth: nth.parse().ok()?,
            passed: AtomicU64::new(0),
        })
    }

    #[expect(clippy::panic, reason = "the suite asks for it")]
    fn panic_here(name: &str) {
        panic!("the chaos suite asked for a panic at {name}");
    }

    /// A span of time that the suite shortens, in milliseconds: its processes live for moments.
    #[cfg(all(feature = "redis", feature = "journal"))]
    pub(crate) fn span(variable: &str, usual: Duration) -> Duration {
        let set = std::env::var(variable).ok().and_then(|ms| ms.parse().ok());
        set.map_or(usual, Duration::from_millis)
    }

    /// SIGKILL, as nothing in the process could send to itself without `unsafe`.
    fn end() -> ! {
        let process = std::process::id().to_string();
        loop {
            let _ = Command::new("kill").args(["-KILL", &process]).status();
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

#[cfg(feature = "failpoints")]
pub(crate) use armed::pass;
#[cfg(all(feature = "failpoints", feature = "redis", feature = "journal"))]
pub(crate) use armed::span;
