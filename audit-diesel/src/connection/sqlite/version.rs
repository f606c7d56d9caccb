//! Which SQLite is linked. Without the feature `bundled` it is whatever the system has.

use std::sync::OnceLock;

use diesel::dsl::sql;
use diesel::query_dsl::RunQueryDsl;
use diesel::result::QueryResult;
use diesel::sql_types::Text;
use diesel::sqlite::SqliteConnection;

use crate::AuditError;
use crate::recorder::own;

/// The first version with RETURNING.
const OLDEST: [u32; 2] = [3, 35];

/// Refuses a version that has no RETURNING. It is asked for once, as a process links one.
pub(super) fn check(conn: &mut SqliteConnection) -> QueryResult<()> {
    static LINKED: OnceLock<String> = OnceLock::new();
    let version = match LINKED.get() {
        Some(version) => version,
        None => {
            let query = diesel::select(sql::<Text>("sqlite_version()"));
            let version = own(conn, |conn| query.get_result(conn))?;
            LINKED.get_or_init(|| version)
        }
    };
    match is_new_enough(version) {
        true => Ok(()),
        false => Err(AuditError::SqliteTooOld {
            version: version.clone(),
        }
        .into()),
    }
}

fn is_new_enough(version: &str) -> bool {
    let mut numbers = version.split('.').map(|part| part.parse().unwrap_or(0));
    [(); 2].map(|()| numbers.next().unwrap_or(0)) >= OLDEST
}

#[cfg(test)]
mod tests {
    use super::is_new_enough;

    #[test]
    fn versions_without_returning_are_too_old() {
        for new_enough in ["3.35.0", "3.35", "3.46.1", "3.100.2", "4.0.0"] {
            assert!(is_new_enough(new_enough), "{new_enough}");
        }
        for too_old in ["3.34.1", "3.8.11.1", "2.99.9", "3", "", "unknown"] {
            assert!(!is_new_enough(too_old), "{too_old}");
        }
    }
}
