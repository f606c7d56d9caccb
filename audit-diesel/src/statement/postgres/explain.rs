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

fn particular(message: &str) -> Option<&'static str> {
    if message.contains("row-level security policy") {
        Some(HIDDEN_ROW)
    } else if message.starts_with("permission denied for ") {
        Some(NO_SELECT)
    } else if message.starts_with("cannot perform ") && message.contains(" RETURNING on relation ")
    {
        Some(RULE)
    } else {
        None
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
    fn other_errors_stay_as_they_are() {
        for message in [
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
