use std::cell::RefCell;
use std::marker::PhantomData;

use super::AuditContext;

thread_local! {
    static CURRENT: RefCell<AuditContext> = RefCell::default();
}

/// Keeps a context in force until it is dropped; see [`AuditContext::enter`].
///
/// It restores what was in force before, on return and on panic alike. It stays on its thread.
#[derive(Debug)]
#[must_use = "the context is in force only while the guard lives"]
pub struct ContextGuard {
    previous: AuditContext,
    // Guards restore a thread-local: sending one elsewhere would restore it on the wrong thread.
    not_send: PhantomData<*const ()>,
}

impl ContextGuard {
    fn replace(context: AuditContext) -> Self {
        Self {
            previous: CURRENT.with(|current| current.replace(context)),
            not_send: PhantomData,
        }
    }
}

impl Drop for ContextGuard {
    fn drop(&mut self) {
        let previous = std::mem::take(&mut self.previous);
        // A thread that is being torn down has no context to restore.
        let _ = CURRENT.try_with(|current| current.replace(previous));
    }
}

impl AuditContext {
    /// The context in force on this thread; empty where there is none.
    pub fn current() -> Self {
        CURRENT
            .try_with(|current| current.borrow().clone())
            .unwrap_or_default()
    }

    /// Runs `work` with this context, completed by the one already in force.
    pub fn scope<R>(&self, work: impl FnOnce() -> R) -> R {
        let _guard = self.enter();
        work()
    }

    /// Puts this context in force until the guard is dropped, completed by the one already in
    /// force. Prefer [`scope`](Self::scope); never hold a guard across an `.await`: that is what
    /// [`attach_to`](Self::attach_to) is for.
    pub fn enter(&self) -> ContextGuard {
        ContextGuard::replace(self.within(&Self::current()))
    }

    /// Puts exactly this context in force: what a thread or task brought along must not mix with
    /// what happens to be in force where it runs.
    pub(super) fn enter_alone(&self) -> ContextGuard {
        ContextGuard::replace(self.clone())
    }

    /// Carries this context, completed by the one in force here, into a closure that runs
    /// elsewhere.
    ///
    /// ```
    /// use audit_core::{Actor, AuditContext};
    ///
    /// AuditContext::new(Actor::user("42")).scope(|| {
    ///     let work = AuditContext::current().wrap(|| AuditContext::current());
    ///     let there = std::thread::spawn(work).join().unwrap();
    ///     assert_eq!(there.actor_ref().unwrap().id(), "42");
    /// });
    /// ```
    pub fn wrap<R>(&self, work: impl FnOnce() -> R) -> impl FnOnce() -> R {
        let context = self.within(&Self::current());
        move || {
            let _guard = context.enter_alone();
            work()
        }
    }
}
