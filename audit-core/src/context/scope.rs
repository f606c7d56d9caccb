use std::cell::RefCell;
use std::future::Future;
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

/// What a scope's work may return: anything but a future, which would run later, without the
/// context. For futures there is [`AuditContext::attach_to`].
///
/// Both implementations below fit a future, so that the compiler cannot choose; for every other
/// type there is one. It says so by the name of the method's last parameter.
pub trait ScopeOutput<Kind> {}

/// The kind of what is done when the scope ends.
#[derive(Debug)]
#[doc(hidden)]
pub enum Done {}

/// The kind of what is still to run then.
#[derive(Debug)]
#[doc(hidden)]
pub enum StillToRun {}

impl<T> ScopeOutput<Done> for T {}
impl<F: Future> ScopeOutput<StillToRun> for F {}

/// What `look` finds in the context in force on this thread, if there is one.
pub(super) fn with_in_force<T>(look: impl FnOnce(&AuditContext) -> T) -> Option<T> {
    let last = |stack: &RefCell<Stack>| stack.borrow().entries.last().map(|(_, c)| look(c));
    STACK.try_with(last).ok().flatten()
}

impl AuditContext {
    /// The context in force on this thread; empty where there is none.
    pub fn current() -> Self {
        with_in_force(Self::clone).unwrap_or_default()
    }

    /// This context, completed by the one in force.
    pub(super) fn within_current(&self) -> Self {
        with_in_force(|outer| self.within(outer)).unwrap_or_else(|| self.clone())
    }

    /// Runs `work` with this context, completed by the one already in force.
    ///
    /// It does not compile where `work` returns a future, as in `scope(|| async { … })`: that would
    /// run later, without the context. Write `context.attach_to(async { … }).await`.
    ///
    /// ```compile_fail,E0282
    /// # use audit_core::{Actor, AuditContext};
    /// # async fn request() {
    /// AuditContext::new(Actor::user("42")).scope(|| async { /* … */ }).await;
    /// # }
    /// ```
    pub fn scope<R, FutureLosesContextUseAttachTo>(&self, work: impl FnOnce() -> R) -> R
    where
        R: ScopeOutput<FutureLosesContextUseAttachTo>,
    {
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
}
