//! Statements that have to be kept or undone as a whole.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use diesel::connection::{Connection, TransactionManager};
use diesel::result::{Error, QueryResult};

use crate::recorder::Recorder;

/// A transaction that was opened by plain SQL is known to the recorder, and one that was opened
/// before the recorder came is known to Diesel.
pub(super) fn in_transaction<C: Connection>(conn: &mut C) -> bool {
    let status = C::TransactionManager::transaction_manager_status_mut(conn);
    status
        .transaction_depth()
        .is_ok_and(|depth| depth.is_some())
        || Recorder::of(conn).is_some_and(|recorder| recorder.in_transaction())
}

/// Holds a panic of the user's code back until a transaction has ended: Diesel would leave it
/// open, and the caller does not know of it.
#[derive(Default)]
pub(super) struct Panics(Option<Box<dyn Any + Send>>);

impl Panics {
    pub(super) fn turned_into_errors<T>(
        &mut self,
        run: impl FnOnce() -> QueryResult<T>,
    ) -> QueryResult<T> {
        catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(|panic| {
            self.0 = Some(panic);
            Err(Error::RollbackTransaction)
        })
    }

    #[cfg(feature = "postgres")]
    pub(super) fn caught(&self) -> bool {
        self.0.is_some()
    }
}

/// Goes on with a panic that was held back.
pub(super) fn uncaught<T>(run: impl FnOnce(&mut Panics) -> QueryResult<T>) -> QueryResult<T> {
    let mut panics = Panics::default();
    let result = run(&mut panics);
    match panics.0 {
        Some(panic) => resume_unwind(panic),
        None => result,
    }
}

/// Runs it in a savepoint, and takes it back where it fails. The savepoint is written as SQL, as
/// Diesel's does not know of a transaction that was opened so.
pub(crate) fn within_savepoint<C: Connection, T, E: From<Error>>(
    conn: &mut C,
    run: impl FnOnce(&mut C) -> Result<T, E>,
) -> Result<T, E> {
    conn.batch_execute("SAVEPOINT audited_statement")?;
    let result = run(conn);
    let ended = conn.batch_execute(match result {
        Ok(_) => "RELEASE audited_statement",
        Err(_) => "ROLLBACK TO audited_statement; RELEASE audited_statement",
    });
    // Where the error has ended the whole transaction, the savepoint is gone with it.
    let value = result?;
    ended?;
    Ok(value)
}
