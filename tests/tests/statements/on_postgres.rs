use audit_tests::app::postgres::*;
use diesel::result::{Error, QueryResult};

/// An insert of a row that is there replaces it.
const DELETE_BEFORE_INSERT: &str = "
    CREATE FUNCTION make_room() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN DELETE FROM accounts WHERE id = NEW.id; RETURN NEW; END $$;
    CREATE TRIGGER make_room BEFORE INSERT ON accounts FOR EACH ROW EXECUTE FUNCTION make_room();";

const TWINS: &str = "CREATE TABLE twins (
    id serial PRIMARY KEY,
    email text NOT NULL UNIQUE,
    role text NOT NULL DEFAULT 'member',
    balance bigint NOT NULL DEFAULT 0 CHECK (balance >= 0),
    note text)";

/// The type of bytes.
const BYTES: &str = "bytea";

const EMPTY_BOTH: &str = "TRUNCATE accounts, twins RESTART IDENTITY";

/// A connection without the auditor.
fn plain_connection(app: &App) -> Conn {
    app.guard.connection()
}

/// Statements on several rows lock them in no fixed order, as Diesel's do.
fn until_no_deadlock<T>(mut run: impl FnMut() -> QueryResult<T>) -> QueryResult<T> {
    loop {
        match run() {
            Err(Error::DatabaseError(_, info)) if info.message().contains("deadlock") => {}
            result => return result,
        }
    }
}

#[path = "cases.rs"]
mod cases;

#[path = "cases_of_postgres.rs"]
mod only;

#[path = "keys_of_postgres.rs"]
mod keys;

#[path = "unreadable_of_postgres.rs"]
mod unreadable;
