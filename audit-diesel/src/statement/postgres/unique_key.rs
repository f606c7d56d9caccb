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
use diesel::result::{DatabaseErrorKind, Error};

use crate::relation::KeyProof;
use crate::statement::columns::quoted;
use crate::statement::postgres::sql::literal;

/// What the error of a failed proof says, whichever language the server speaks.
const REFUTED: &str = "audit-diesel: the key does not tell rows apart";

/// Whether a unique index over some of the columns `$key` that is never deferred and compares as the
/// columns themselves do, none of which may be null, tells the rows of the relation `c` apart.
pub(super) fn is_unique(key: &str) -> String {
    format!(
        "(c.relkind = 'p' OR c.relkind = 'r' \
             AND NOT EXISTS (SELECT FROM pg_catalog.pg_inherits WHERE inhparent = c.oid)) \
         AND EXISTS (SELECT FROM pg_catalog.pg_index x \
             WHERE x.indrelid = c.oid AND x.indisunique AND x.indisvalid AND x.indimmediate \
             AND x.indpred IS NULL AND x.indexprs IS NULL \
             AND NOT EXISTS (SELECT FROM pg_catalog.generate_series(0, x.indnkeyatts - 1) AS place \
                 JOIN pg_catalog.pg_attribute a \
                     ON a.attrelid = c.oid AND a.attnum = x.indkey[place] \
                 JOIN pg_catalog.pg_opclass o ON o.oid = x.indclass[place] \
                 WHERE NOT (a.attnotnull AND a.attname = ANY ({key}) AND o.opcdefault \
                     AND a.attcollation = x.indcollation[place])))"
    )
}

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
                 THEN true ELSE (SELECT {refuted}::text)::boolean END \
                 AND (true OR EXISTS (SELECT ctid FROM {table} GROUP BY {key}))"
            )
        }
        KeyProof::Catalog | KeyProof::None => {
            let key: Vec<_> = key.iter().map(|column| literal(column)).collect();
            let is_unique = is_unique(&format!("ARRAY[{}]::text[]", key.join(", ")));
            let table = literal(table);
            format!(
                "(SELECT CASE WHEN {is_unique} THEN 'true' ELSE {refuted} END \
                 FROM pg_catalog.pg_class c WHERE c.oid = {table}::pg_catalog.regclass)::boolean"
            )
        }
    }
}

/// Whether PostgreSQL has refused an update as its proof failed.
pub(super) fn is_refuted(error: &Error) -> bool {
    let Error::DatabaseError(DatabaseErrorKind::Unknown, info) = error else {
        return false;
    };
    let message = info.message();
    // `column "users.ctid" must appear in the GROUP BY clause`, in any language; `ctid` alone where the
    // relation has none.
    message.contains(REFUTED) || message.contains("ctid") || message.contains("tableoid")
}
