//! SQLite: a statement outside of a transaction gets one, and its changes are recorded while the
//! database is still locked against other writers.

mod relation;
mod version;
mod write_lock;

use std::sync::Arc;

use diesel::connection::SimpleConnection;
use diesel::dsl::sql;
use diesel::prelude::*;
use diesel::result::{Error, QueryResult};
use diesel::sql_query;
use diesel::sql_types::{Integer, Nullable, Text};
use diesel::sqlite::SqliteConnection;

use super::atomic::{in_transaction, uncaught, within_savepoint};
use super::{AuditedConnection, EntriesToStore, PlannedWrite, RawConnection, RelationFacts};
use crate::recorder::{Recorder, own};
use crate::store::sqlite::insert;
use crate::turns::Turns;

impl AuditedConnection for SqliteConnection {
    type Raw = Self;

    fn raw(&mut self) -> &mut Self {
        self
    }
}

impl RawConnection for SqliteConnection {
    const COUNTS_ROWS_OF_VIEWS: bool = false;

    fn attached(&mut self) {
        // A setting that cannot be read is left as it is.
        let _ = own(self, wait_for_locks);
        let turns = own(self, turns_of).unwrap_or_default();
        if let Some(recorder) = Recorder::of(self) {
            recorder.set_turns(turns);
        }
    }

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

    fn run_with_records<T>(
        &mut self,
        run: impl FnOnce(&mut Self) -> QueryResult<T>,
    ) -> QueryResult<T> {
        if !in_transaction(self) {
            return in_own_transaction(self, run);
        }
        // A statement that fails leaves the transaction as it was, with what ran before it: so a
        // change and its record need a savepoint around both.
        uncaught(|panics| within_savepoint(self, |conn| panics.turned_into_errors(|| run(conn))))
    }

    fn check_supported(&mut self) -> QueryResult<()> {
        version::check(self)
    }

    fn store_records(&mut self, entries: &EntriesToStore) -> QueryResult<()> {
        insert(self, &entries.0).map(drop)
    }

    fn server_identity(&mut self) -> QueryResult<Option<String>> {
        Ok(None)
    }

    /// What the migrations have written into the file.
    fn database_identity(&mut self) -> QueryResult<Option<String>> {
        const IDENTITY: &str = "'sqlite ' || (SELECT id FROM audit_identity)";
        diesel::select(sql::<Nullable<Text>>(IDENTITY)).get_result(self)
    }

    fn before_questions(&mut self, write: &PlannedWrite) -> QueryResult<Option<i32>> {
        write_lock::take(write, self)?;
        relation::schema_version(write.table, self).map(Some)
    }

    fn relation(&mut self, write: &PlannedWrite) -> QueryResult<RelationFacts> {
        relation::relation(write.table, self).map(RelationFacts)
    }

    /// SQLite prepares anew by itself.
    fn is_stale_plan(_: &Error) -> bool {
        false
    }

    fn go_back(&mut self) -> bool {
        false
    }

    fn explained(error: Error) -> Error {
        error
    }

    /// The savepoint of [`run_with_records`](Self::run_with_records) undoes the change.
    fn spoil_transaction(&mut self) {}
}

fn in_own_transaction<T>(
    conn: &mut SqliteConnection,
    run: impl FnOnce(&mut SqliteConnection) -> QueryResult<T>,
) -> QueryResult<T> {
    uncaught(|panics| {
        conn.immediate_transaction(|conn| {
            if let Some(recorder) = Recorder::of(conn) {
                recorder.note_write_lock();
            }
            panics.turned_into_errors(|| run(conn))
        })
    })
}

#[derive(QueryableByName)]
struct BusyTimeout {
    #[diesel(sql_type = Integer)]
    timeout: i32,
}

/// Without a time to wait, SQLite fails at once where somebody else is writing, and a consumer is such
/// a somebody. One that is set already is left as it is.
fn wait_for_locks(conn: &mut SqliteConnection) -> QueryResult<()> {
    match busy_timeout(conn)? {
        0 => conn.batch_execute("PRAGMA busy_timeout = 5000"),
        _ => Ok(()),
    }
}

/// How long the connection waits for a lock, in milliseconds.
pub(crate) fn busy_timeout(conn: &mut SqliteConnection) -> QueryResult<i32> {
    let busy: BusyTimeout = sql_query("PRAGMA busy_timeout").get_result(conn)?;
    Ok(busy.timeout)
}

#[derive(QueryableByName)]
struct AttachedFile {
    #[diesel(sql_type = Text)]
    name: String,
    #[diesel(sql_type = Nullable<Text>)]
    file: Option<String>,
}

/// The turns at the connection's file.
pub(crate) fn turns_of(conn: &mut SqliteConnection) -> QueryResult<Option<Arc<Turns>>> {
    // Not `pragma_database_list`: as a table it would have the schema read first, which takes a lock.
    let files: Vec<AttachedFile> = sql_query("PRAGMA database_list").load(conn)?;
    let main = files.into_iter().find(|file| file.name == "main");
    Ok(Turns::at(
        &main.and_then(|main| main.file).unwrap_or_default(),
    ))
}
