//! The lock against other writers, which an audited statement takes before anything is asked.
//!
//! A transaction that has read cannot get it any more once another connection has written: SQLite
//! answers "database is locked" at once, however long the connection would wait. Plain Diesel's first
//! statement of a transaction writes, and waits.

use diesel::SqliteConnection;
use diesel::connection::Connection;
use diesel::query_builder::{AstPass, QueryFragment, QueryId};
use diesel::result::{DatabaseErrorKind, Error, QueryResult};
use diesel::sqlite::Sqlite;

use crate::connection::PlannedWrite;
use crate::recorder::Recorder;
use crate::relation::Write;

/// A write of the planned kind that concerns no row.
struct OfNoRow<'w>(&'w PlannedWrite);

impl QueryId for OfNoRow<'_> {
    type QueryId = ();
    const HAS_STATIC_QUERY_ID: bool = false;
}

impl QueryFragment<Sqlite> for OfNoRow<'_> {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Sqlite>) -> QueryResult<()> {
        let PlannedWrite { write, table, key } = self.0;
        let Some(column) = key.first() else {
            return Ok(());
        };
        match write {
            Write::Insert { .. } => {
                out.push_sql("INSERT INTO ");
                out.push_sql(table);
                out.push_sql(" (");
                out.push_identifier(column)?;
                out.push_sql(") SELECT ");
                out.push_identifier(column)?;
                out.push_sql(" FROM ");
                out.push_sql(table);
            }
            Write::Update { .. } => {
                out.push_sql("UPDATE ");
                out.push_sql(table);
                out.push_sql(" SET ");
                out.push_identifier(column)?;
                out.push_sql(" = ");
                out.push_identifier(column)?;
            }
            Write::Delete { .. } => {
                out.push_sql("DELETE FROM ");
                out.push_sql(table);
            }
        }
        out.push_sql(" WHERE 0");
        Ok(())
    }
}

/// Takes the lock, unless the transaction has it.
pub(super) fn take(write: &PlannedWrite, conn: &mut SqliteConnection) -> QueryResult<()> {
    if Recorder::of(conn).is_some_and(|recorder| recorder.has_lock_of(write.table)) {
        return Ok(());
    }
    match conn.execute_returning_count(&OfNoRow(write)) {
        Ok(_) => {
            if let Some(recorder) = Recorder::of(conn) {
                recorder.note_lock_of(write.table);
            }
            Ok(())
        }
        Err(error) if is_locked(&error) => Err(error),
        // Such a write there cannot be. Why, the statement itself will say, or the relation's kind.
        Err(_) => Ok(()),
    }
}

fn is_locked(error: &Error) -> bool {
    let Error::DatabaseError(DatabaseErrorKind::Unknown, info) = error else {
        return false;
    };
    let locked = ["database is locked", "database table is locked"];
    locked.iter().any(|it| info.message().starts_with(it))
}
