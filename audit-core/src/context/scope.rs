use std::cell::RefCell;
use std::marker::PhantomData;

use super::AuditContext;

thread_local! {
    static STACK: RefCell<Stack> = RefCell::default();
}

/// The contexts that were entered on this thread, the one in force last.
#[derive(Default)]
struct Stack {
    entries: Vec<Entry>,
    entered: u64,
}

impl Stack {
    fn enter(&mut self, context: AuditContext) -> u64 {
        self.entered += 1;
        self.entries.push((self.entered, context));
        self.entered
    }

    /// What ends with an entry: it and, where it `bounds` them, those that were entered inside.
    fn leave(&mut self, id: u64, bounds: bool) -> Ended {
        let Some(at) = self.entries.iter().rposition(|(entry, _)| *entry == id) else {
            return Ended::default();
        };
        if at + 1 == self.entries.len() {
            return (self.entries.pop(), Vec::new());
        }
        match bounds {
            true => (None, self.entries.split_off(at)),
            false => (Some(self.entries.remove(at)), Vec::new()),
        }
    }
}

/// One, as a rule, and any that were left behind.
type Ended = (Option<Entry>, Vec<Entry>);
type Entry = (u64, AuditContext);

/// Keeps a context in force until it is dropped; see [`AuditContext::enter`].
///
/// Then what was in force before is so again, on return and on panic alike, and in whatever order
/// guards are dropped. It stays on its thread.
#[derive(Debug)]
#[must_use = "the context is in force only while the guard lives"]
pub struct ContextGuard {
    id: u64,
    /// Whether what was entered inside and never left ends with this one.
    bounds: bool,
    // Guards restore a thread-local: sending one elsewhere would restore it on the wrong thread.
    not_send: PhantomData<*const ()>,
}

impl ContextGuard {
    fn enter(context: AuditContext, bounds: bool) -> Self {
        // A thread that is being torn down has no context any more.
        let id = STACK.try_with(|stack| stack.borrow_mut().enter(context));
        Self {
            id: id.unwrap_or_default(),
            bounds,
            not_send: PhantomData,
        }
    }
}

impl Drop for ContextGuard {
    fn drop(&mut self) {
        let ended = STACK.try_with(|stack| stack.borrow_mut().leave(self.id, self.bounds));
        // Not while the stack is borrowed.
        drop(ended);
    }
}

impl AuditContext {
    /// The context in force on this thread; empty where there is none.
    pub fn current() -> Self {
        Self::in_force().unwrap_or_default()
    }

    fn in_force() -> Option<Self> {
        let last = |stack: &RefCell<Stack>| stack.borrow().entries.last().map(|(_, c)| c.clone());
        STACK.try_with(last).ok().flatten()
    }

    /// This context, completed by the one in force.
    fn within_current(&self) -> Self {
        match Self::in_force() {
            Some(outer) => self.within(&outer),
            None => self.clone(),
        }
    }

    /// Runs `work` with this context, completed by the one already in force.
    pub fn scope<R>(&self, work: impl FnOnce() -> R) -> R {
        let _guard = ContextGuard::enter(self.within_current(), true);
        work()
    }

    /// Puts this context in force until the guard is dropped, completed by the one already in
    /// force. Prefer [`scope`](Self::scope); never hold a guard across an `.await`: that is what
    /// [`attach_to`](Self::attach_to) is for.
    pub fn enter(&self) -> ContextGuard {
        ContextGuard::enter(self.within_current(), false)
    }

    /// Puts exactly this context in force: what a thread or task brought along must not mix with
    /// what happens to be in force where it runs.
    pub(super) fn enter_alone(&self) -> ContextGuard {
        ContextGuard::enter(self.clone(), true)
    }

    /// Carries this context, completed by the one in force here, into a closure that runs
    /// elsewhere.
    ///
    /// ```
    /// use audit_core::{Actor, AuditContext};
    ///
    /// AuditContext::new(Actor::user("42")).scope(|| {
    ///     let work = std::thread::spawn(AuditContext::current().wrap(|| AuditContext::current()));
    ///     let there = work.join().unwrap();
    ///     assert_eq!(there.actor_ref().unwrap().id(), "42");
    /// });
    /// ```
    pub fn wrap<R, F>(&self, work: F) -> impl FnOnce() -> R + use<R, F>
    where
        F: FnOnce() -> R,
    {
        let context = self.within_current();
        move || {
            let _guard = context.enter_alone();
            work()
        }
    }
}
