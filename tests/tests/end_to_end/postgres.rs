fn begin<T>(conn: &mut Conn, run: impl FnOnce(&mut Conn) -> QueryResult<T>) -> QueryResult<T> {
    conn.transaction(run)
}

/// The server rolls this back though COMMIT succeeds, as a statement failed before.
fn swallowed(conn: &mut Conn, id: i32, done: &Done) {
    begin(conn, |conn| {
        add(conn, id, 1)?;
        let _ = refused(conn, id);
        Ok(())
    })
    .unwrap();
    done.count(1, 0);
}
