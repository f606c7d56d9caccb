//! What decides which relation a name means and what may be seen of it: the search path and the role,
//! as far as this connection's own SQL tells.

use crate::sql::Words;

use super::hash;

/// The settings in force, each by a number of its own. 0: as the session began.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Names {
    path: u64,
    user: u64,
    role: u64,
    row_security: u64,
    /// Another number each time that nobody can say what is in force.
    unknown: u64,
}

/// The settings of the open transaction, and what its end makes of them.
#[derive(Debug, Default)]
pub(super) struct Settings {
    now: Names,
    /// What COMMIT leaves in force: all that is not of the transaction alone (`SET LOCAL`).
    kept: Names,
    /// What ROLLBACK leaves in force.
    before: Names,
    /// Set where something is in force that nobody here knows, and perhaps until the end only.
    is_unclear: bool,
    unknowns: u64,
}

/// How a transaction has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::recorder) enum End {
    Committed,
    RolledBack,
    /// Nobody here knows.
    Unknown,
}

/// A setting that decides about names, and its new value: a number, 0 for that of the beginning.
enum Change {
    Path(u64),
    /// With another user no role is set.
    User(u64),
    Role(u64),
    RowSecurity(u64),
    /// `RESET ALL`, which spares user and role.
    All,
    /// `DISCARD ALL`
    Everything,
}

/// `SET ROLE NONE`, whichever role the session began with.
const NO_ROLE: u64 = 1;

impl Settings {
    pub(super) fn now(&self) -> Names {
        self.now
    }

    /// Takes note of a SET, RESET or DISCARD. Says whether it decides about names.
    pub(super) fn note(&mut self, statement: &str, in_transaction: bool) -> bool {
        let (is_local, change) = read(statement);
        let Some(change) = change else {
            return false;
        };
        match (is_local, in_transaction) {
            // It says a warning, and does nothing.
            (true, false) => {}
            (true, true) => change.apply(&mut self.now),
            (false, _) => {
                change.apply(&mut self.now);
                change.apply(&mut self.kept);
            }
        }
        if !in_transaction {
            self.before = self.now;
        }
        true
    }

    /// Something may be in force that was not read from SQL.
    pub(super) fn unclear(&mut self, in_transaction: bool) {
        self.unknowns += 1;
        self.now.unknown = self.unknowns;
        self.kept.unknown = self.unknowns;
        self.is_unclear = in_transaction;
        if !in_transaction {
            (self.kept, self.before) = (self.now, self.now);
        }
    }

    /// The transaction goes back to a savepoint.
    pub(super) fn rolled_back_to_savepoint(&mut self) {
        if self.now != self.before || self.kept != self.before {
            self.unclear(true);
        }
    }

    pub(super) fn ended(&mut self, end: End) {
        let changed = self.now != self.before || self.kept != self.before;
        self.now = match end {
            End::Committed => self.kept,
            End::RolledBack | End::Unknown => self.before,
        };
        (self.kept, self.before) = (self.now, self.now);
        let is_unclear = std::mem::take(&mut self.is_unclear);
        if end == End::Committed && is_unclear || end == End::Unknown && changed {
            self.unclear(false);
        }
    }
}

impl Change {
    fn apply(&self, names: &mut Names) {
        match self {
            Self::Path(path) => names.path = *path,
            Self::User(user) => (names.user, names.role) = (*user, NO_ROLE),
            Self::Role(role) => names.role = *role,
            Self::RowSecurity(value) => names.row_security = *value,
            Self::All => (names.path, names.row_security) = (0, 0),
            Self::Everything => {
                *names = Names {
                    unknown: names.unknown,
                    ..Names::default()
                }
            }
        }
    }
}

/// What a SET, RESET or DISCARD changes, and whether for the transaction alone.
fn read(statement: &str) -> (bool, Option<Change>) {
    let mut words = Words::new(statement).map(str::to_ascii_lowercase);
    let verb = words.next().unwrap_or_default();
    let mut name = words.next().unwrap_or_default();
    let is_local = name == "local";
    let mut after_session = false;
    if verb == "set" && (is_local || name == "session") {
        after_session = name == "session";
        name = words.next().unwrap_or_default();
    }
    if verb == "reset" && name == "session" {
        after_session = true;
        name = words.next().unwrap_or_default();
    }
    let mut value = words.next();
    if matches!(value.as_deref(), Some("to")) {
        value = words.next();
    }
    let is_default = verb == "reset" || value.as_deref() == Some("default");
    let value_of = |text: &str| if is_default { 0 } else { hash(text) };
    let change = match (verb.as_str(), name.trim_matches('"')) {
        ("discard", "all") => Change::Everything,
        ("reset", "all") => Change::All,
        ("set" | "reset", "search_path" | "schema") => Change::Path(value_of(statement)),
        ("set" | "reset", "session_authorization") => Change::User(value_of(statement)),
        ("set" | "reset", "authorization") if after_session => Change::User(value_of(statement)),
        ("set", "role") if value.as_deref() == Some("none") => Change::Role(NO_ROLE),
        ("set" | "reset", "role") => Change::Role(value_of(statement)),
        ("set" | "reset", "row_security") => Change::RowSecurity(value_of(statement)),
        _ => return (is_local, None),
    };
    (is_local, Some(change))
}
