//! A context that goes along with work to another thread or task.

use std::future::Future;
use std::marker::PhantomData;

use super::{Attached, AuditContext, ScopeOutput};

/// Work that a context can go along with: see [`AuditContext::wrap`]. `Kind` is found by the
/// compiler.
#[diagnostic::on_unimplemented(
    message = "a context cannot be wrapped around this",
    label = "neither a closure that can be sent to another thread, nor a future",
    note = "`wrap` takes `|| …`, `|conn: &mut PgConnection| …` with the argument's type written out, \
            and futures; what it captures has to be `Send`",
    note = "for any other closure write `move |argument| context.scope(|| …)`"
)]
pub trait Wrap<Kind> {
    /// The work with its context: a closure of the same form in a box, or a future.
    type Wrapped;

    /// Puts `context` in force while the work runs.
    #[doc(hidden)]
    fn wrap_in(self, context: AuditContext) -> Self::Wrapped;
}

/// The kind of closures without an argument.
#[derive(Debug)]
#[doc(hidden)]
pub struct NoArgument<'f, R, Output>(PhantomData<&'f ()>, PhantomData<fn(Output) -> R>);

/// The kind of closures that borrow their argument, as a connection.
#[derive(Debug)]
#[doc(hidden)]
pub struct OneBorrowed<'f, A: ?Sized, R, Output>(
    PhantomData<&'f ()>,
    PhantomData<fn(&A, Output) -> R>,
);

/// The kind of futures.
#[derive(Debug)]
#[doc(hidden)]
pub enum ToBePolled {}

impl<'f, F, R, Output> Wrap<NoArgument<'f, R, Output>> for F
where
    F: FnOnce() -> R + Send + 'f,
    R: ScopeOutput<Output>,
{
    type Wrapped = Box<dyn FnOnce() -> R + Send + 'f>;

    fn wrap_in(self, context: AuditContext) -> Self::Wrapped {
        Box::new(move || {
            let _guard = context.enter_alone();
            self()
        })
    }
}

impl<'f, F, A, R, Output> Wrap<OneBorrowed<'f, A, R, Output>> for F
where
    F: FnOnce(&mut A) -> R + Send + 'f,
    A: ?Sized,
    R: ScopeOutput<Output>,
{
    type Wrapped = Box<dyn FnOnce(&mut A) -> R + Send + 'f>;

    fn wrap_in(self, context: AuditContext) -> Self::Wrapped {
        Box::new(move |argument: &mut A| {
            let _guard = context.enter_alone();
            self(argument)
        })
    }
}

impl<F: Future> Wrap<ToBePolled> for F {
    type Wrapped = Attached<F>;

    fn wrap_in(self, context: AuditContext) -> Self::Wrapped {
        context.attach_alone(self)
    }
}

impl AuditContext {
    /// Carries this context, completed by the one in force here, into work that runs elsewhere: a
    /// closure without an argument, one that borrows a connection, or a future that is spawned.
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
    ///
    /// The compiler has to be told what type the argument has:
    ///
    /// ```
    /// # use audit_core::{Actor, AuditContext};
    /// # struct Connection;
    /// # fn interact<R>(work: impl FnOnce(&mut Connection) -> R + Send + 'static) -> R { work(&mut Connection) }
    /// # let context = AuditContext::new(Actor::user("42"));
    /// interact(context.wrap(|conn: &mut Connection| {
    ///     // Statements that are built here have the actor, too.
    ///     assert_eq!(AuditContext::current().actor_ref().unwrap().id(), "42");
    /// }));
    /// # async fn spawn<F: Future>(work: F) { work.await; }
    /// spawn(context.wrap(async { /* … */ }));
    /// ```
    ///
    /// ```compile_fail,E0282
    /// # use audit_core::{Actor, AuditContext};
    /// let _ = AuditContext::new(Actor::user("42")).wrap(|| async { /* … */ });
    /// ```
    ///
    /// A closure with an argument of another kind does it by hand, and so does one that returns a
    /// future, which would otherwise run without the context and does not compile:
    ///
    /// ```
    /// # use audit_core::{Actor, AuditContext};
    /// let context = AuditContext::new(Actor::user("42"));
    /// let by_value = move |name: String| context.scope(|| name.len());
    /// # assert_eq!(by_value("ada".into()), 3);
    /// # let context = AuditContext::new(Actor::user("42"));
    /// let for_later = move |name: String| context.attach_to(async move { name.len() });
    /// ```
    pub fn wrap<W, FutureLosesContextUseAttachTo>(&self, work: W) -> W::Wrapped
    where
        W: Wrap<FutureLosesContextUseAttachTo>,
    {
        work.wrap_in(self.within_current())
    }
}
