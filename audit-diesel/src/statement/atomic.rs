//! A change and the writing of its record, both or neither.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use diesel::connection::{Connection, LoadConnection, TransactionManager};
use diesel::result::{Error, QueryResult};

use crate::backend::AuditedBackend;
use crate::recorder::{Recorder, own};

/// Runs a statement that writes its records itself, in the open transaction or in its own.
pub(super) fn with_its_records<C, T>(
    conn: &mut C,
    run: impl FnOnce(&mut C) -> QueryResult<T>,
) -> QueryResult<T>
where
    C: LoadConnection,
    C::Backend: AuditedBackend,
{
    if !in_transaction(conn) {
        return in_own_transaction(conn, run);
    }
    uncaught(|panics| {
        <C::Backend as AuditedBackend>::within_transaction(conn, |conn| {
            let result = panics.turned_into_errors(|| run(conn));
            if panics.caught() {
                own(conn, <C::Backend as AuditedBackend>::spoil_transaction);
            }
            result
        })
    })
}

/// Runs a statement in a transaction of its own.
pub(super) fn in_own_transaction<C: Connection, T>(
    conn: &mut C,
    run: impl FnOnce(&mut C) -> QueryResult<T>,
) -> QueryResult<T> {
    uncaught(|panics| conn.transaction(|conn| panics.turned_into_errors(|| run(conn))))
}

/// Holds a panic of the user's code back until a transaction has ended: Diesel would leave it
/// open, and the caller does not know of it.
#[derive(Default)]
struct Panics(Option<Box<dyn Any + Send>>);

impl Panics {
    fn turned_into_errors<T>(&mut self, run: impl FnOnce() -> QueryResult<T>) -> QueryResult<T> {
        catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(|panic| {
            self.0 = Some(panic);
            Err(Error::RollbackTransaction)
        })
    }

    fn caught(&self) -> bool {
        self.0.is_some()
    }
}

/// Goes on with a panic that was held back.
fn uncaught<T>(run: impl FnOnce(&mut Panics) -> QueryResult<T>) -> QueryResult<T> {
    let mut panics = Panics::default();
    let result = run(&mut panics);
    match panics.0 {
        Some(panic) => resume_unwind(panic),
        None => result,
    }
}

/// A transaction that was opened by plain SQL is known to the recorder, and one that was opened
/// before the recorder came is known to Diesel.
pub(super) fn in_transaction<C: Connection>(conn: &mut C) -> bool {
    let status = C::TransactionManager::transaction_manager_status_mut(conn);
    status
        .transaction_depth()
        .is_ok_and(|depth| depth.is_some())
        || Recorder::of(conn).is_some_and(|recorder| recorder.in_transaction())
}
