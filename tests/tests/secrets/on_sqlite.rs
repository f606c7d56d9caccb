use audit_tests::app::sqlite::*;
use diesel::Connection;
use diesel::connection::SimpleConnection;

#[path = "cases.rs"]
mod cases;

const VAULTS: &str = "CREATE TABLE vaults (id integer NOT NULL PRIMARY KEY, name text NOT NULL UNIQUE, \
    password text NOT NULL UNIQUE, pin text, private_key blob NOT NULL, payer_iban text NOT NULL, \
    door_token text)";

/// The database of the application; the trail is in another file.
struct Vaults(tempfile::TempDir);

impl Vaults {
    fn new(app: &App) -> Self {
        let vaults = Self(tempfile::tempdir().unwrap());
        vaults.connection(app).batch_execute(VAULTS).unwrap();
        vaults
    }

    fn connection(&self, _: &App) -> Conn {
        let path = self.0.path().join("vaults.db");
        Conn::establish(&path.display().to_string()).unwrap()
    }
}

/// Everything that is in the audit tables' database, as its files have it.
fn trail_of(app: &App) -> Vec<u8> {
    let mut files = Vec::new();
    for file in std::fs::read_dir(app.guard.path()).unwrap() {
        files.extend(std::fs::read(file.unwrap().path()).unwrap());
    }
    files
}
