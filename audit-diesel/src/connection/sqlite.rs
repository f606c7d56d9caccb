//! SQLite: a statement outside of a transaction gets one, and its changes are recorded while the
//! database is still locked against other writers.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use diesel::connection::{Connection, TransactionManager};
use diesel::result::{Error, QueryResult};
use diesel::sqlite::SqliteConnection;

use super::{AuditedConnection, RawConnection};
use crate::recorder::Recorder;

impl AuditedConnection for SqliteConnection {
    type Raw = Self;

    fn raw(&mut self) -> &mut Self {
        self
    }
}

impl RawConnection for SqliteConnection {
    fn run_statement<T>(
        &mut self,
        run: impl FnOnce(&mut Self) -> QueryResult<T>,
    ) -> QueryResult<T> {
        if in_transaction(self) {
            run(self)
        } else {
            in_own_transaction(self, run)
        }
    }
}

/// A transaction that was opened by plain SQL is known to the recorder, and one that was opened
/// before the recorder came is known to Diesel.
fn in_transaction(conn: &mut SqliteConnection) -> bool {
    type Transactions = <SqliteConnection as Connection>::TransactionManager;
    let status = Transactions::transaction_manager_status_mut(conn).transaction_depth();
    status.is_ok_and(|depth| depth.is_some())
        || Recorder::of(conn).is_some_and(|recorder| recorder.in_transaction())
}

/// Diesel would leave the transaction open after a panic, and the caller does not know of it.
fn in_own_transaction<T>(
    conn: &mut SqliteConnection,
    run: impl FnOnce(&mut SqliteConnection) -> QueryResult<T>,
) -> QueryResult<T> {
    let mut panicked = None;
    let result = conn.immediate_transaction(|conn| {
        catch_unwind(AssertUnwindSafe(|| run(conn))).unwrap_or_else(|panic| {
            panicked = Some(panic);
            Err(Error::RollbackTransaction)
        })
    });
    match panicked {
        Some(panic) => resume_unwind(panic),
        None => result,
    }
}
