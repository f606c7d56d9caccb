//! Named points where a process of the chaos suite ends itself, so that each place between two
//! durable steps is hit on purpose and not by luck. Without the feature `failpoints` they are
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
    use std::process::Command;
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::time::Duration;

    /// `name:n` ends the process when it passes the point for the nth time.
    const VARIABLE: &str = "AUDIT_FAILPOINT";

    struct Armed {
        name: String,
        left: AtomicU64,
    }

    /// Passes a point.
    pub(crate) fn pass(name: &str) {
        static ARMED: OnceLock<Option<Armed>> = OnceLock::new();
        let Some(armed) = ARMED.get_or_init(read) else {
            return;
        };
        if armed.name == name && armed.left.fetch_sub(1, Ordering::SeqCst) == 1 {
            end();
        }
    }

    fn read() -> Option<Armed> {
        let text = std::env::var(VARIABLE).ok()?;
        let (name, passes) = text.rsplit_once(':')?;
        Some(Armed {
            name: name.to_owned(),
            left: AtomicU64::new(passes.parse().ok()?),
        })
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
