//! A consumer's transaction in a file that the application writes to.

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use diesel::SqliteConnection;
use diesel::connection::{AnsiTransactionManager, SimpleConnection, TransactionManager};
use diesel::result::{DatabaseErrorKind, Error, QueryResult};

use crate::connection::{busy_timeout, turns_of};
use crate::recorder::Recorder;
use crate::turns::{ConsumerTurn, Turns};

/// How long a consumer tries to get the file's lock before it says that it cannot.
const PATIENCE: Duration = Duration::from_secs(2);

/// How long one turn may be spent on that: the application's transactions wait meanwhile.
const TRIES: Duration = Duration::from_millis(20);

/// How soon the lock is tried again. SQLite itself would wait for up to 100 ms in between, and a writer
/// that never pauses leaves the lock free for a moment only.
const PAUSE: Duration = Duration::from_millis(1);

/// How long COMMIT waits for those who read, at least.
const COMMIT_WAITS_MILLIS: i32 = 1_000;

/// Others get the lock for at least as long as this transaction had it, up to this.
const LONGEST_REST: Duration = Duration::from_millis(50);

/// Runs it in a transaction that has the lock from its beginning, while no other transaction of this
/// process is open on the file.
pub(super) fn in_turn<T>(
    conn: &mut SqliteConnection,
    run: impl FnOnce(&mut SqliteConnection) -> QueryResult<T>,
) -> QueryResult<T> {
    // Its own transactions are no others, where an auditor is attached to this connection as well.
    let own = Recorder::of(conn).and_then(|recorder| recorder.set_turns(None));
    let result = with_own_timeout(conn, run);
    if let Some(recorder) = Recorder::of(conn) {
        recorder.set_turns(own);
    }
    result
}

fn with_own_timeout<T>(
    conn: &mut SqliteConnection,
    run: impl FnOnce(&mut SqliteConnection) -> QueryResult<T>,
) -> QueryResult<T> {
    let timeout = busy_timeout(conn)?;
    let turns = turns_of(conn)?;
    set_timeout(conn, 0)?;
    let (result, lasted) = transaction(conn, turns.as_ref(), timeout, run);
    set_timeout(conn, timeout)?;
    thread::sleep(lasted.min(LONGEST_REST));
    result
}

fn set_timeout(conn: &mut SqliteConnection, millis: i32) -> QueryResult<()> {
    conn.batch_execute(&format!("PRAGMA busy_timeout = {millis}"))
}

/// What came of it, and how long it had the lock.
fn transaction<T>(
    conn: &mut SqliteConnection,
    turns: Option<&Arc<Turns>>,
    timeout: i32,
    run: impl FnOnce(&mut SqliteConnection) -> QueryResult<T>,
) -> (QueryResult<T>, Duration) {
    let turn = match begin(conn, turns) {
        Ok(turn) => turn,
        Err(error) => return (Err(error), Duration::ZERO),
    };
    let began = Instant::now();
    let result = set_timeout(conn, timeout.max(COMMIT_WAITS_MILLIS)).and_then(|()| run(conn));
    let result = match result {
        Ok(value) => AnsiTransactionManager::commit_transaction(conn).map(|()| value),
        Err(error) => match AnsiTransactionManager::rollback_transaction(conn) {
            Ok(()) | Err(Error::BrokenTransactionManager) => Err(error),
            Err(rollback) => Err(rollback),
        },
    };
    drop(turn);
    (result, began.elapsed())
}

/// Begins a transaction with the lock, in its turn.
fn begin(
    conn: &mut SqliteConnection,
    turns: Option<&Arc<Turns>>,
) -> QueryResult<Option<ConsumerTurn>> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let turn = match turns {
            Some(turns) => Some(turns.store().ok_or_else(transaction_is_open)?),
            None => None,
        };
        let tries_end = (Instant::now() + TRIES).min(deadline);
        let error = loop {
            match AnsiTransactionManager::begin_transaction_sql(conn, "BEGIN IMMEDIATE") {
                Ok(()) => return Ok(turn),
                Err(error) if Instant::now() >= tries_end => break error,
                Err(Error::DatabaseError(..)) => thread::sleep(PAUSE),
                Err(error) => return Err(error),
            }
        };
        if Instant::now() >= deadline {
            return Err(error);
        }
    }
}

fn transaction_is_open() -> Error {
    let said = "database is locked: the application has had a transaction open on it all the while";
    Error::DatabaseError(DatabaseErrorKind::Unknown, Box::new(said.to_owned()))
}
