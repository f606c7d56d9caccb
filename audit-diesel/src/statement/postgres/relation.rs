//! What PostgreSQL says of a relation.

use diesel::PgConnection;
use diesel::prelude::*;
use diesel::result::QueryResult;
use diesel::sql_types::{Array, Bool, CChar, Text};

use super::unique_key::is_unique;
use crate::relation::{KeyProof, Obstacle, Relation, RelationKind};

#[derive(QueryableByName)]
struct Answer {
    #[diesel(sql_type = CChar)]
    kind: u8,
    #[diesel(sql_type = Bool)]
    has_primary_key: bool,
    #[diesel(sql_type = Bool)]
    has_unique_key: bool,
    #[diesel(sql_type = Bool)]
    has_children: bool,
    #[diesel(sql_type = Bool)]
    has_before_insert_trigger: bool,
    #[diesel(sql_type = Bool)]
    replaces_insert: bool,
    #[diesel(sql_type = Bool)]
    replaces_update: bool,
    #[diesel(sql_type = Bool)]
    replaces_delete: bool,
    #[diesel(sql_type = Bool)]
    may_hide_rows: bool,
}

fn question() -> String {
    let replaces = |event: u8| {
        format!(
            "EXISTS (SELECT FROM pg_catalog.pg_rewrite r WHERE r.ev_class = c.oid \
             AND r.is_instead AND r.ev_type = '{event}' AND r.ev_enabled <> 'D')"
        )
    };
    format!(
        "SELECT c.relkind AS kind, \
         pg_catalog.has_table_privilege(c.oid, 'SELECT') AND EXISTS ( \
             SELECT FROM pg_catalog.pg_constraint p \
             WHERE p.conrelid = c.oid AND p.contype = 'p' AND NOT p.condeferrable \
             AND NOT EXISTS (SELECT FROM pg_catalog.pg_attribute a WHERE a.attrelid = c.oid \
                 AND a.attnum = ANY (p.conkey) AND NOT a.attname = ANY ($2))) AS has_primary_key, \
         {} AS has_unique_key, \
         c.relkind = 'r' AND EXISTS ( \
             SELECT FROM pg_catalog.pg_inherits WHERE inhparent = c.oid) AS has_children, \
         EXISTS (SELECT FROM pg_catalog.pg_trigger t WHERE t.tgrelid = c.oid \
             AND NOT t.tgisinternal AND t.tgenabled <> 'D' AND t.tgtype & 7 = 7 \
         ) AS has_before_insert_trigger, \
         {} AS replaces_insert, {} AS replaces_update, {} AS replaces_delete, \
         pg_catalog.row_security_active(c.oid) AND EXISTS ( \
             SELECT FROM pg_catalog.pg_policy p WHERE p.polrelid = c.oid AND p.polcmd <> '*' \
         ) AS may_hide_rows \
         FROM pg_catalog.pg_class c WHERE c.oid = pg_catalog.to_regclass($1)",
        is_unique("$2"),
        replaces(b'3' - b'0'),
        replaces(b'2' - b'0'),
        replaces(b'4' - b'0'),
    )
}

/// Asks what the relation of this name is to a model with this key. One that does not exist is for the
/// statement itself to say.
pub(crate) fn relation(
    table: &str,
    key: &[&str],
    conn: &mut PgConnection,
) -> QueryResult<Relation> {
    let question = diesel::sql_query(question())
        .bind::<Text, _>(table)
        .bind::<Array<Text>, _>(key);
    let answer: Option<Answer> = question.get_result(conn).optional()?;
    Ok(answer.map_or(Relation::ordinary(RelationKind::Other), Relation::from))
}

impl From<Answer> for Relation {
    fn from(answer: Answer) -> Self {
        let rule = |replaces: bool| replaces.then_some(Obstacle::Rule);
        let may_route = answer.has_children && answer.has_before_insert_trigger;
        Self {
            kind: match answer.kind {
                b'r' => RelationKind::Table,
                b'p' => RelationKind::Partitioned,
                b'v' => RelationKind::View,
                b'f' => RelationKind::Foreign,
                _ => RelationKind::Other,
            },
            key: match (answer.has_primary_key, answer.has_unique_key) {
                (true, _) if !answer.has_children => KeyProof::PrimaryKey,
                (false, true) => KeyProof::Catalog,
                _ => KeyProof::None,
            },
            insert: rule(answer.replaces_insert).or(may_route.then_some(Obstacle::RoutingTrigger)),
            update: rule(answer.replaces_update),
            delete: rule(answer.replaces_delete),
            may_hide_rows: answer.may_hide_rows,
        }
    }
}
