//! Asks the database whether a transaction is still open.

use diesel::connection::Connection;

use super::{Dialect, Recorder, own};

pub(super) fn ask_whether_open<C: Connection>(conn: &mut C, dialect: Dialect) {
    match dialect {
        // A transaction that failed refuses everything, and an answer says that there is none.
        Dialect::Postgres => drop(own(conn, |conn| conn.batch_execute("SELECT 1"))),
        Dialect::Sqlite => ask_sqlite(conn),
    }
}

/// SQLite has no function that tells whether a transaction is open, but refuses to open a second
/// one. BEGIN takes no lock.
fn ask_sqlite<C: Connection>(conn: &mut C) {
    set_asking(conn, true);
    let idle = conn.batch_execute("BEGIN").is_ok();
    if idle {
        let _ = conn.batch_execute("COMMIT");
    }
    set_asking(conn, false);
    if let Some(recorder) = Recorder::of(conn) {
        recorder.told_whether_open(!idle);
    }
}

fn set_asking<C: Connection>(conn: &mut C, asking: bool) {
    if let Some(recorder) = Recorder::of(conn) {
        recorder.asking = asking;
    }
}
