//! What a scope may return and `wrap` may take, and the compiler finds the types by itself.

use audit_diesel::{Actor, AuditContext};

struct Conn(i32);

impl Conn {
    fn count(&mut self) -> Result<i32, std::num::ParseIntError> {
        Ok(self.0)
    }
}

fn interact<F, R>(work: F) -> R
where
    F: FnOnce(&mut Conn) -> R + Send + 'static,
    R: Send + 'static,
{
    work(&mut Conn(7))
}

fn spawn<F: Future + Send + 'static>(_: F) {}

fn generic<R>(work: impl FnOnce() -> R) -> R {
    AuditContext::current().scope(work)
}

fn named(conn: &mut Conn) -> i32 {
    conn.0
}

fn fails() -> Result<i32, std::num::ParseIntError> {
    AuditContext::current().scope(|| {
        let number: i32 = "7".parse()?;
        Ok(number)
    })
}

fn unit() {}

fn main() {
    let context = AuditContext::new(Actor::user("42"));
    assert_eq!(context.scope(|| vec![1].len()), 1);
    let list: Vec<u8> = context.scope(Default::default);
    assert!(list.is_empty());
    assert_eq!(*context.scope(|| Box::new(1)), 1);
    context.scope(unit);
    assert_eq!(generic(fails), Ok(7));
    let shown: Box<dyn std::fmt::Display> = context.scope(|| Box::new("7") as _);
    assert_eq!(shown.to_string(), "7");
    let panics = std::panic::AssertUnwindSafe(|| context.scope(|| panic!("on purpose")));
    assert!(std::panic::catch_unwind(panics).is_err());

    assert_eq!(interact(context.wrap(|conn: &mut Conn| conn.count())), Ok(7));
    assert_eq!(interact(context.wrap(named)), 7);
    assert_eq!(std::thread::spawn(context.wrap(fails)).join().unwrap(), Ok(7));
    spawn(context.wrap(async { fails() }));
    let borrowed = String::from("ada");
    std::thread::scope(|scope| {
        let thread = scope.spawn(context.wrap(|| borrowed.len()));
        assert_eq!(thread.join().unwrap(), 3);
    });
    let mut owned = 0;
    let mut by_value = |number: i32| context.scope(|| owned = number);
    by_value(1);
    assert_eq!(owned, 1);
}
