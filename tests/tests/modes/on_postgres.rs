pub(crate) use audit_tests::app::postgres::*;
use diesel::prelude::*;

/// A connection that nothing is attached to.
fn plain(app: &App) -> Conn {
    Conn::establish(&app.guard.url()).unwrap()
}

#[path = "transactional.rs"]
mod transactional;
#[path = "transactional_on_postgres.rs"]
mod transactional_on_postgres;
