use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use pin_project_lite::pin_project;

use super::AuditContext;

pin_project! {
    /// A future that runs with a context; see [`AuditContext::attach_to`].
    #[derive(Debug)]
    #[must_use = "futures do nothing unless polled"]
    pub struct Attached<F> {
        // None while it is dropped.
        #[pin]
        future: Option<F>,
        context: AuditContext,
    }

    impl<F> PinnedDrop for Attached<F> {
        /// What is given up half-way cleans up as the request that began it.
        fn drop(this: Pin<&mut Self>) {
            let mut this = this.project();
            let _guard = this.context.enter_alone();
            this.future.set(None);
        }
    }
}

impl<F: Future> Future for Attached<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        let _guard = this.context.enter_alone();
        match this.future.as_pin_mut() {
            Some(future) => future.poll(task),
            None => Poll::Pending,
        }
    }
}

impl AuditContext {
    /// Carries this context, completed by the one in force here, through a future: it is in force
    /// at each poll and when the future is dropped, on whichever thread, and at no other time.
    ///
    /// It needs no particular runtime. What the future spawns is a task of its own: attach the
    /// context to that, too.
    pub fn attach_to<F: Future>(&self, future: F) -> Attached<F> {
        self.within_current().attach_alone(future)
    }

    /// Carries exactly this context.
    pub(super) fn attach_alone<F: Future>(self, future: F) -> Attached<F> {
        Attached {
            future: Some(future),
            context: self,
        }
    }
}
