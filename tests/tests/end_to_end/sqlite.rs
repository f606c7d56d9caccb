/// Takes the write lock at once: SQLite refuses to wait for it in the middle of a transaction.
fn begin<T>(conn: &mut Conn, run: impl FnOnce(&mut Conn) -> QueryResult<T>) -> QueryResult<T> {
    conn.immediate_transaction(run)
}

/// Unlike PostgreSQL, SQLite keeps what came before the refused statement; so it is rolled back.
fn swallowed(conn: &mut Conn, id: i32, done: &Done) {
    let _ = begin(conn, |conn| {
        add(conn, id, 1)?;
        refused(conn, id)
    });
    done.count(1, 0);
}

/// Waits for other writers.
#[derive(Debug)]
pub struct Patient;

impl diesel::r2d2::CustomizeConnection<Conn, diesel::r2d2::Error> for Patient {
    fn on_acquire(&self, conn: &mut Conn) -> Result<(), diesel::r2d2::Error> {
        use diesel::connection::SimpleConnection;
        conn.batch_execute("PRAGMA busy_timeout = 120000")
            .map_err(diesel::r2d2::Error::QueryError)
    }
}
