//! Who writes when to a SQLite file that the application and a consumer of this process share.
//!
//! SQLite lets one transaction write at a time, and what has read may not be able to write any more
//! once somebody else has written: it fails with "database is locked", however long it would wait.
//! So a consumer stores only while no transaction of this process's audited connections is open, and
//! those that are about to begin meanwhile wait until it has stored, which takes milliseconds.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

/// The longest that a transaction of the application waits before it begins.
const LONGEST_WAIT: Duration = Duration::from_secs(1);

/// How long a consumer waits for the transactions that are open, while nobody can begin another one: at
/// the first try, and at most, after tries that were in vain.
const CONSUMER_WAITS: Duration = Duration::from_millis(250);
const CONSUMER_WAITS_AT_MOST: Duration = Duration::from_secs(1);

/// After so many tries in vain a transaction is open that may never end.
const MISSED_TURNS: u32 = 5;

/// The turns at one file.
#[derive(Debug, Default)]
pub(crate) struct Turns {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    /// How many transactions of the application are open.
    open: usize,
    /// How many wait to begin.
    waiting: usize,
    /// How many of these begin before a consumer stores again.
    first: usize,
    /// Whether a consumer stores, or is about to.
    consumer: bool,
    missed: u32,
    /// How many threads sleep until something changes: to wake nobody costs a call of the system.
    asleep: usize,
}

impl Turns {
    /// The turns at this file, the same for the whole process; none for a database in memory.
    pub(crate) fn at(file: &str) -> Option<Arc<Self>> {
        static FILES: Mutex<Option<HashMap<PathBuf, Weak<Turns>>>> = Mutex::new(None);
        if file.is_empty() {
            return None;
        }
        let path = PathBuf::from(file);
        let path = path.canonicalize().unwrap_or(path);
        let mut files = FILES.lock().unwrap_or_else(PoisonError::into_inner);
        let files = files.get_or_insert_default();
        files.retain(|_, turns| turns.strong_count() > 0);
        if let Some(turns) = files.get(&path).and_then(Weak::upgrade) {
            return Some(turns);
        }
        let turns = Arc::new(Self::default());
        files.insert(path, Arc::downgrade(&turns));
        Some(turns)
    }

    /// A transaction of the application begins, once no consumer stores.
    pub(crate) fn begin(self: &Arc<Self>) -> OpenTurn {
        self.lock().waiting += 1;
        let deadline = Instant::now() + LONGEST_WAIT;
        let mut state = self.wait_until(deadline, |state| !state.consumer);
        state.waiting = state.waiting.saturating_sub(1);
        state.first = state.first.saturating_sub(1);
        state.open += 1;
        self.wake(state);
        OpenTurn(Arc::clone(self))
    }

    /// A consumer stores, once no transaction of the application is open. `None`: one was open for
    /// too long.
    pub(crate) fn store(self: &Arc<Self>) -> Option<ConsumerTurn> {
        let deadline = Instant::now() + CONSUMER_WAITS;
        let mut state = self.wait_until(deadline, |state| !state.consumer && state.first == 0);
        if state.consumer {
            return None;
        }
        state.consumer = true;
        let missed = state.missed;
        drop(state);
        let turn = ConsumerTurn(Arc::clone(self));
        let wait = wait_after(missed);
        let mut state = self.wait_until(Instant::now() + wait, |state| state.open == 0);
        if state.open == 0 {
            state.missed = 0;
            return Some(turn);
        }
        if missed >= MISSED_TURNS {
            return Some(turn);
        }
        state.missed += 1;
        // It gives up its turn, which needs the lock.
        drop(state);
        None
    }

    fn wait_until(
        &self,
        deadline: Instant,
        is_so: impl Fn(&State) -> bool,
    ) -> MutexGuard<'_, State> {
        let mut state = self.lock();
        while !is_so(&state) {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            state.asleep += 1;
            let waited = self.changed.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
            state.asleep -= 1;
        }
        state
    }

    /// Has those look again who wait for a change of the state.
    fn wake(&self, state: MutexGuard<'_, State>) {
        let is_waited_for = state.asleep > 0;
        drop(state);
        if is_waited_for {
            self.changed.notify_all();
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How long to wait after so many tries in vain. Whoever waited for one that never ends waits no more.
fn wait_after(missed: u32) -> Duration {
    match missed {
        0..MISSED_TURNS => (CONSUMER_WAITS * 2_u32.pow(missed)).min(CONSUMER_WAITS_AT_MOST),
        _ => Duration::ZERO,
    }
}

/// A transaction of the application, until it has ended.
#[derive(Debug)]
pub(crate) struct OpenTurn(Arc<Turns>);

impl Drop for OpenTurn {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.open = state.open.saturating_sub(1);
        self.0.wake(state);
    }
}

/// A consumer's transaction, until it has ended.
#[derive(Debug)]
pub(crate) struct ConsumerTurn(Arc<Turns>);

impl Drop for ConsumerTurn {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.consumer = false;
        state.first = state.waiting;
        self.0.wake(state);
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
    use std::thread;

    use super::*;

    #[test]
    fn a_consumer_gets_its_turn_beside_transactions_that_never_pause() {
        let (turns, stored) = (Arc::new(Turns::default()), AtomicU32::new(0));
        thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    while stored.load(SeqCst) < 20 {
                        let turn = turns.begin();
                        assert!(turns.lock().open > 0);
                        thread::yield_now();
                        drop(turn);
                    }
                });
            }
            while stored.load(SeqCst) < 20 {
                if let Some(turn) = turns.store() {
                    assert_eq!(turns.lock().open, 0);
                    drop(turn);
                    stored.fetch_add(1, SeqCst);
                }
            }
        });
    }

    #[test]
    fn a_transaction_that_never_ends_holds_a_consumer_up_for_a_while() {
        let turns = Arc::new(Turns::default());
        let _open = turns.begin();
        let missed = (0..100).take_while(|_| turns.store().is_none()).count();
        assert_eq!(missed, MISSED_TURNS as usize);
        let began = Instant::now();
        assert!(turns.store().is_some());
        assert!(began.elapsed() < CONSUMER_WAITS, "it waits no more");
        // Nor is anybody else held up.
        drop(turns.begin());
        assert!(began.elapsed() < CONSUMER_WAITS);
    }

    #[test]
    fn a_file_has_the_same_turns_under_each_of_its_names() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.db");
        std::fs::write(&path, "").unwrap();
        let other = folder.path().join(".").join("a.db");
        let [one, two] = [path, other].map(|it| Turns::at(&it.display().to_string()).unwrap());
        assert!(Arc::ptr_eq(&one, &two));
        assert!(Turns::at("").is_none());
    }
}
