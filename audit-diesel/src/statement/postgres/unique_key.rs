//! An update finds its rows again by the model's key. Where that key does not tell rows apart, as
//! with table inheritance or a table without a unique constraint, it would write rows that the
//! filter does not name: PostgreSQL is asked before the first update of a model.

use diesel::PgConnection;
use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::query_builder::{QueryBuilder, QueryFragment};
use diesel::result::QueryResult;
use diesel::sql_types::{Array, Bool, Text};

use crate::AuditError;
use crate::model::AuditedModel;
use crate::recorder::Recorder;
use crate::statement::own;

/// Whether the key's columns, none of which may be null, are unique: by an index over them or over
/// some of them that is never deferred, in a table that no other one inherits from. What a view or a foreign table shows
/// has no index here, and is taken at its word.
const KEY_IS_UNIQUE: &str = "
    SELECT c.relkind NOT IN ('r', 'p') OR (
        (c.relkind = 'p' OR NOT EXISTS (SELECT FROM pg_inherits WHERE inhparent = c.oid))
        AND EXISTS (
            SELECT FROM pg_index x
            WHERE x.indrelid = c.oid AND x.indisunique AND x.indisvalid AND x.indimmediate
                AND x.indpred IS NULL AND x.indexprs IS NULL
                AND NOT EXISTS (
                    SELECT FROM generate_series(0, x.indnkeyatts - 1) AS place
                    JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = x.indkey[place]
                    WHERE NOT a.attname = ANY($2)
                )
        )
        AND NOT EXISTS (
            SELECT FROM pg_attribute a
            WHERE a.attrelid = c.oid AND a.attname = ANY($2) AND NOT a.attnotnull
        )
    ) AS is_unique
    FROM pg_class c WHERE c.oid = to_regclass($1)";

#[derive(QueryableByName)]
struct Answer {
    #[diesel(sql_type = Bool)]
    is_unique: bool,
}

/// Refuses where the model's key does not tell the table's rows apart. Asked once for a model.
pub(super) fn check<M: AuditedModel>(
    table: &impl QueryFragment<Pg>,
    conn: &mut PgConnection,
) -> QueryResult<()> {
    let recorder = Recorder::of(conn).ok_or(AuditError::NoAuditor)?;
    if recorder.auditor().keys().are_checked::<M>() {
        return Ok(());
    }
    let mut name = <Pg as diesel::backend::Backend>::QueryBuilder::default();
    table.to_sql(&mut name, &Pg)?;
    let table = name.finish();
    let mut key = Vec::new();
    M::visit_key(&mut |column| key.push(column));
    let question = diesel::sql_query(KEY_IS_UNIQUE)
        .bind::<Text, _>(&table)
        .bind::<Array<Text>, _>(&key);
    let answers: Vec<Answer> = own(conn, |conn| question.load(conn))?;
    match answers.first() {
        Some(answer) if !answer.is_unique => {
            let key = key.join(", ");
            Err(AuditError::KeyNotUnique { table, key }.into())
        }
        Some(_) => {
            if let Some(recorder) = Recorder::of(conn) {
                recorder.auditor().keys().checked::<M>();
            }
            Ok(())
        }
        // There is no such table, and the update itself will say so.
        None => Ok(()),
    }
}
