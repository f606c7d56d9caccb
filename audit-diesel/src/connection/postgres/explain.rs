//! What is particular about an audited statement that PostgreSQL refuses.
//!
//! Diesel names no SQLSTATE, and PostgreSQL speaks the language of `lc_messages`.

use diesel::result::DatabaseErrorKind::Unknown;
use diesel::result::{DatabaseErrorInformation, Error};

/// "cached plan must not change result type" in the languages that PostgreSQL speaks.
const STALE_PLAN: [&str; 12] = [
    "cached plan must not change result type",
    "gecachter Plan darf den Ergebnistyp nicht ändern",
    "el plan almacenado no debe cambiar el tipo de resultado",
    "le plan en cache ne doit pas modifier le type en résultat",
    "il cached plan non deve cambiare il tipo del risultato",
    "キャッシュした実行計画は結果型を変更してはなりません",
    "დაკეშილი გეგმა შედეგის ტიპს არ უნდა ცვლიდეს",
    "캐시된 계획에서 결과 형식을 바꾸지 않아야 함",
    "в кешированном плане не должен изменяться тип результата",
    "cache:ad plan får inte ändra resultattyp",
    "в кешованому плані не повинен змінюватись тип результату",
    "已缓冲的计划不能改变结果类型",
];

/// Whether a prepared statement was refused as its results have changed their types.
pub(crate) fn is_stale_plan(error: &Error) -> bool {
    matches!(error, Error::DatabaseError(Unknown, info) if STALE_PLAN.contains(&info.message()))
}

/// The error with what may be the reason that an audited statement gets it.
pub(crate) fn explained(error: Error) -> Error {
    let Error::DatabaseError(Unknown, info) = error else {
        return error;
    };
    match particular(info.message()) {
        Some(particular) => Error::DatabaseError(
            Unknown,
            Box::new(Explained {
                message: format!("{}; {particular}", info.message()),
                info,
            }),
        ),
        None => Error::DatabaseError(Unknown, info),
    }
}

const HIDDEN_ROW: &str = "an audited statement reads the row that it writes (RETURNING), so the row \
    has to satisfy the policies for SELECT, too: nothing was written. Let a policy show it, or run \
    Diesel's own statement inside `audit_diesel::exempt(conn, \"why\", |conn| …)`";

const NO_SELECT: &str = "an audited statement reads the row that it writes (RETURNING), so the user \
    needs SELECT on the model's columns, too: nothing was written. GRANT that, or run Diesel's own \
    statement inside `audit_diesel::exempt(conn, \"why\", |conn| …)`";

const RULE: &str = "a rule makes another write of it, so what is written cannot be read and nothing \
    was: write the table that the rows end up in, or run Diesel's own statement inside \
    `audit_diesel::exempt(conn, \"why\", |conn| …)`";

const NO_CALL: &str = "an audited statement calls this function of PostgreSQL's, which everybody may call \
    unless that was revoked: nothing was written. GRANT EXECUTE on it, or run Diesel's own statement \
    inside `audit_diesel::exempt(conn, \"why\", |conn| …)`";

/// What else than the columns an audited statement needs rights for, and the plain one does not.
const CALLED: [&str; 9] = [
    "clock_timestamp",
    "concat",
    "concat_ws",
    "generate_series",
    "has_table_privilege",
    "pg_get_partkeydef",
    "row_security_active",
    "to_regclass",
    "txid_current",
];

/// What is particular about an audited statement. Rights on a schema, a sequence, a type or the
/// application's own functions are needed by the plain statement as well: there the error says it all.
fn particular(message: &str) -> Option<&'static str> {
    if message.starts_with("new row violates row-level security policy") {
        return Some(HIDDEN_ROW);
    }
    if message.starts_with("cannot perform ") && message.contains(" RETURNING on relation ") {
        return Some(RULE);
    }
    let what = message.strip_prefix("permission denied for ")?;
    let (kind, name) = what.rsplit_once(' ')?;
    match kind {
        "table" | "view" | "materialized view" | "foreign table" | "column" | "relation" => {
            Some(NO_SELECT)
        }
        "function" => CALLED.contains(&name).then_some(NO_CALL),
        _ => None,
    }
}

/// An error of PostgreSQL with a longer message.
struct Explained {
    info: Box<dyn DatabaseErrorInformation + Send + Sync>,
    message: String,
}

impl DatabaseErrorInformation for Explained {
    fn message(&self) -> &str {
        &self.message
    }

    fn details(&self) -> Option<&str> {
        self.info.details()
    }

    fn hint(&self) -> Option<&str> {
        self.info.hint()
    }

    fn table_name(&self) -> Option<&str> {
        self.info.table_name()
    }

    fn column_name(&self) -> Option<&str> {
        self.info.column_name()
    }

    fn constraint_name(&self) -> Option<&str> {
        self.info.constraint_name()
    }

    fn statement_position(&self) -> Option<i32> {
        self.info.statement_position()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(message: &str) -> Error {
        Error::DatabaseError(Unknown, Box::new(message.to_owned()))
    }

    #[test]
    fn what_an_audited_statement_needs_more_is_said() {
        for message in [
            "new row violates row-level security policy for table \"t\"",
            "new row violates row-level security policy \"p\" for table \"t\"",
            "permission denied for table t",
            "cannot perform DELETE RETURNING on relation \"t\"",
        ] {
            let explained = explained(refused(message)).to_string();
            assert!(explained.starts_with(message), "{explained}");
            assert!(explained.contains("exempt("), "{explained}");
        }
    }

    #[test]
    fn a_right_that_the_plain_statement_needs_as_well_is_not_explained() {
        for (what, is_explained) in [
            ("table users", true),
            ("view users", true),
            ("column email", true),
            ("foreign table users", true),
            ("function txid_current", true),
            ("function my_own", false),
            ("sequence users_id_seq", false),
            ("schema private", false),
            ("type mood", false),
            ("table", false),
        ] {
            let message = format!("permission denied for {what}");
            let explained = explained(refused(&message)).to_string();
            assert_eq!(explained != message, is_explained, "{explained}");
            assert_eq!(
                explained.contains("SELECT on"),
                is_explained && !what.starts_with("function")
            );
        }
    }

    #[test]
    fn other_errors_stay_as_they_are() {
        for message in [
            "the row-level security policy says no",
            "permission denied",
            "division by zero",
            "deadlock detected",
            "relation \"t\" does not exist",
        ] {
            assert_eq!(explained(refused(message)).to_string(), message);
        }
        assert_eq!(explained(Error::NotFound), Error::NotFound);
    }

    #[test]
    fn a_stale_plan_is_known_in_any_language() {
        assert!(
            STALE_PLAN
                .iter()
                .all(|message| is_stale_plan(&refused(message)))
        );
        assert!(!is_stale_plan(&refused("division by zero")));
    }
}
