use audit_tests::app::postgres::*;
use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use diesel::sql_types::Text;

#[path = "cases.rs"]
mod cases;

const VAULTS: &str = "CREATE TABLE vaults (id integer PRIMARY KEY, name text NOT NULL UNIQUE, \
    password text NOT NULL UNIQUE, pin text, private_key bytea NOT NULL, payer_iban text NOT NULL, \
    door_token text)";

/// The database of the application; the trail is in other tables of the same one.
struct Vaults;

impl Vaults {
    fn new(app: &App) -> Self {
        app.guard.connection().batch_execute(VAULTS).unwrap();
        Self
    }

    fn connection(&self, app: &App) -> Conn {
        app.guard.connection()
    }
}

#[derive(QueryableByName)]
struct Line {
    #[diesel(sql_type = Text)]
    line: String,
}

/// Everything that is in the audit tables.
fn trail_of(app: &App) -> Vec<u8> {
    let mut conn = app.guard.connection();
    let lines: Vec<Line> = diesel::sql_query(
        "SELECT t::text AS line FROM audit_logs t UNION ALL \
         SELECT q::text || convert_from(payload, 'UTF8') FROM audit_quarantine q",
    )
    .load(&mut conn)
    .unwrap();
    let lines: Vec<String> = lines.into_iter().map(|line| line.line).collect();
    lines.join("\n").into_bytes()
}
