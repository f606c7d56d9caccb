//! Which rights the role lacks, in its own words: PostgreSQL's message says "permission denied", in the
//! server's language, and Diesel passes no SQLSTATE on.

use diesel::PgConnection;
use diesel::prelude::*;
use diesel::result::QueryResult;
use diesel::sql_types::{Array, Text};

use super::super::rights::{MissingRight, Right};

/// The tables that are there and may not be used so, and the schemas that hide them.
const MISSING: &str = "
    WITH need (relation, privilege) AS (SELECT * FROM unnest($1, $2))
    SELECT current_user::text AS role, privilege, relation AS object
    FROM need
    WHERE NOT has_table_privilege(to_regclass(relation), privilege)
      AND NOT has_any_column_privilege(to_regclass(relation), privilege)
    UNION ALL
    SELECT current_user::text, 'USAGE', 'SCHEMA ' || quote_ident(nspname)
    FROM need
    JOIN pg_class ON relname = relation AND relkind IN ('r', 'p', 'v', 'f')
    JOIN pg_namespace ON pg_namespace.oid = relnamespace
    WHERE to_regclass(relation) IS NULL
      AND NOT has_schema_privilege(pg_namespace.oid, 'USAGE')
      AND nspname IN (
          SELECT replace(trim(both ' \"' FROM part), '$user', current_user)
          FROM unnest(string_to_array(current_setting('search_path'), ',')) AS part)
    LIMIT 1";

#[derive(QueryableByName)]
struct Missing {
    #[diesel(sql_type = Text)]
    role: String,
    #[diesel(sql_type = Text)]
    privilege: String,
    #[diesel(sql_type = Text)]
    object: String,
}

pub(super) fn missing_right(
    conn: &mut PgConnection,
    needed: &[Right],
) -> QueryResult<Option<MissingRight>> {
    let (tables, privileges): (Vec<_>, Vec<_>) =
        needed.iter().map(|it| (it.table, it.privilege)).unzip();
    let missing = diesel::sql_query(MISSING)
        .bind::<Array<Text>, _>(tables)
        .bind::<Array<Text>, _>(privileges)
        .get_result::<Missing>(conn)
        .optional()?;
    Ok(missing.map(|missing| MissingRight {
        role: missing.role,
        privilege: missing.privilege,
        object: missing.object,
    }))
}
