//! An update finds its rows again by the model's key. Where that key does not tell rows apart, it would
//! write rows that the filter does not name. So each update holds a proof that it does, and PostgreSQL
//! refuses one whose proof fails before it writes anything: whatever another session did to the table
//! since the connection asked about it, and whichever table the search path names by now.
//!
//! The proof by the primary key costs nothing. `true OR EXISTS (SELECT ctid FROM t GROUP BY key)` is
//! never run, and left out of the plan, but PostgreSQL takes a column that is not grouped only where the
//! primary key is among those that are. It looks at that when it prepares the statement, and again
//! whenever the table, its indexes or the search path changed since. A primary key says nothing about
//! the rows of tables that inherit from the table; that each row comes from the table itself, or from
//! a partition, is seen as it is read.
//!
//! The proof by the catalog reads the table's indexes once a run.

use diesel::pg::Pg;
use diesel::result::{DatabaseErrorInformation, DatabaseErrorKind, Error};

use crate::connection::postgres::is_unique;
use crate::relation::KeyProof;
use crate::statement::columns::quoted;
use crate::statement::postgres::sql::literal;

/// What the error of a failed proof says, whichever language the server speaks.
const REFUTED: &str = "audit-diesel: the key does not tell rows apart";

/// The type that this is no value of. Hardly a column has it, so that hardly a value of the user's is
/// taken for one.
const PROOF_TYPE: &str = "pg_lsn";

/// The conditions of an update of `table`, as it stands in SQL, which hold or fail as a whole.
pub(super) fn proof(proof: KeyProof, table: &str, key: &[&str]) -> String {
    let refuted = literal(REFUTED);
    match proof {
        KeyProof::PrimaryKey => {
            let oid = format!("{}::pg_catalog.regclass", literal(table));
            let key = key.iter().map(|column| quoted::<Pg>(column));
            let key = key.collect::<Vec<_>>().join(", ");
            format!(
                "CASE WHEN tableoid = {oid} \
                     OR (SELECT pg_catalog.pg_get_partkeydef({oid}) IS NOT NULL) \
                 THEN true ELSE (SELECT {refuted}::text)::pg_catalog.{PROOF_TYPE} IS NOT NULL END \
                 AND (true OR EXISTS (SELECT ctid FROM {table} GROUP BY {key}))"
            )
        }
        KeyProof::Catalog | KeyProof::None => {
            let key: Vec<_> = key.iter().map(|column| literal(column)).collect();
            let is_unique = is_unique(&format!("ARRAY[{}]::text[]", key.join(", ")));
            let table = literal(table);
            format!(
                "(SELECT CASE WHEN {is_unique} THEN '0/0' ELSE {refuted} END \
                 FROM pg_catalog.pg_class c WHERE c.oid = {table}::pg_catalog.regclass \
                 )::pg_catalog.{PROOF_TYPE} IS NOT NULL"
            )
        }
    }
}

/// Whether PostgreSQL has refused the statement `sql` as the proof that stands in it failed: either it
/// could not be read, as is said by a place in the text, or it was found to be false, which is an error
/// that no value of the user's makes.
pub(super) fn is_refuted(error: &Error, sql: &str, proof: &str) -> bool {
    let Error::DatabaseError(DatabaseErrorKind::Unknown, info) = error else {
        return false;
    };
    match info.statement_position() {
        Some(position) => is_inside(position, sql, proof),
        None => is_found_false(&**info),
    }
}

/// Whether a place, which PostgreSQL counts in characters and from 1 on, is inside of the proof.
fn is_inside(position: i32, sql: &str, proof: &str) -> bool {
    let Some(start) = sql.rfind(proof) else {
        return false;
    };
    let first = sql[..start].chars().count();
    let after = first + proof.chars().count();
    usize::try_from(position).is_ok_and(|position| (first + 1..=after).contains(&position))
}

/// `invalid input syntax for type pg_lsn: "…"`, in any language.
fn is_found_false(info: &dyn DatabaseErrorInformation) -> bool {
    let message = info.message();
    let quoted = message.trim_end_matches(|c: char| !c.is_alphanumeric());
    let is_of_row = info.table_name().is_some() || info.constraint_name().is_some();
    quoted.ends_with(REFUTED) && message.contains(PROOF_TYPE) && !is_of_row
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Info(&'static str, Option<i32>);

    impl DatabaseErrorInformation for Info {
        fn message(&self) -> &str {
            self.0
        }

        fn details(&self) -> Option<&str> {
            None
        }

        fn hint(&self) -> Option<&str> {
            None
        }

        fn table_name(&self) -> Option<&str> {
            None
        }

        fn column_name(&self) -> Option<&str> {
            None
        }

        fn constraint_name(&self) -> Option<&str> {
            None
        }

        fn statement_position(&self) -> Option<i32> {
            self.1
        }
    }

    const SQL: &str = "UPDATE \"ä\" SET x = 1 WHERE the proof RETURNING x";

    fn is_refuted_by(message: &'static str, position: Option<i32>) -> bool {
        let error = Error::DatabaseError(
            DatabaseErrorKind::Unknown,
            Box::new(Info(message, position)),
        );
        is_refuted(&error, SQL, "the proof")
    }

    #[test]
    fn an_error_inside_of_the_proof_refutes_it() {
        let first = SQL.chars().take_while(|c| *c != 't').count() as i32 + 1;
        for (position, refutes) in [
            (first, true),
            (first + 8, true),
            (first - 1, false),
            (first + 9, false),
            (0, false),
        ] {
            assert_eq!(
                is_refuted_by("anything", Some(position)),
                refutes,
                "{position}"
            );
        }
    }

    #[test]
    fn what_only_speaks_of_the_proof_does_not_refute_it() {
        for (message, refutes) in [
            (
                "invalid input syntax for type pg_lsn: \"audit-diesel: the key does not tell rows apart\"",
                true,
            ),
            (
                "ungültige Eingabesyntax für Typ pg_lsn: »audit-diesel: the key does not tell rows apart«",
                true,
            ),
            (
                "invalid input syntax for type integer: \"audit-diesel: the key does not tell rows apart\"",
                false,
            ),
            (
                "no pg_lsn: audit-diesel: the key does not tell rows apart, they say",
                false,
            ),
            (
                "column \"productid\" of relation \"ctid\" and tableoid",
                false,
            ),
        ] {
            assert_eq!(is_refuted_by(message, None), refutes, "{message}");
        }
    }
}
