pub(crate) use audit_tests::app::sqlite::*;
use diesel::connection::SimpleConnection;
use diesel::prelude::*;

/// A connection that nothing is attached to.
fn plain(app: &App) -> Conn {
    let path = app.guard.path().join("app.db");
    let mut conn = Conn::establish(path.to_str().unwrap()).unwrap();
    conn.batch_execute("PRAGMA busy_timeout = 120000").unwrap();
    conn
}

#[path = "transactional.rs"]
mod transactional;
