//! A future that would run without the context that was meant for it, and what `wrap` cannot take.

use audit_diesel::AuditContext;

struct Conn;

fn interact<R>(_: impl FnOnce(&mut Conn) -> R + Send + 'static) {}

fn a_future_in_a_scope(context: AuditContext) {
    let _ = context.scope(|| async { 1 });
}

fn a_boxed_future_in_a_scope(context: AuditContext) {
    let _ = context.scope(|| Box::pin(std::future::ready(1)));
}

fn any_future_in_a_scope<F: Future>(context: AuditContext, work: impl FnOnce() -> F) {
    let _ = context.scope(work);
}

fn a_closure_that_returns_a_future(context: AuditContext) {
    let _ = context.wrap(|| async { 1 });
}

fn an_argument_without_its_type(context: AuditContext) {
    interact(context.wrap(|conn| drop(conn)));
}

fn not_to_be_sent(context: AuditContext) {
    let local = std::rc::Rc::new(1);
    let _ = context.wrap(move || *local);
}

fn main() {}
