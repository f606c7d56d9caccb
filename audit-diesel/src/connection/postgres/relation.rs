//! What PostgreSQL says of a relation.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::LazyLock;

use diesel::PgConnection;
use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::query_builder::{AstPass, Query, QueryFragment, QueryId};
use diesel::result::QueryResult;
use diesel::sql_types::{Array, Bool, CChar, Text, Untyped};

use crate::relation::{KeyProof, Obstacle, Relation, RelationKind};

/// Whether a unique index over some of the columns `$key` that is never deferred and compares as the
/// columns themselves do, none of which may be null, tells the rows of the relation `c` apart.
pub(crate) fn is_unique(key: &str) -> String {
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
    #[diesel(sql_type = Text)]
    types: String,
}

/// Where the key stands in the question.
const PLACE: char = '?';

/// Written once, and kept prepared: it may be asked once more for a single statement.
static QUESTION: LazyLock<String> = LazyLock::new(|| {
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
                 AND a.attnum = ANY (p.conkey) AND NOT a.attname = ANY (?))) AS has_primary_key, \
         {} AS has_unique_key, \
         c.relkind = 'r' AND EXISTS ( \
             SELECT FROM pg_catalog.pg_inherits WHERE inhparent = c.oid) AS has_children, \
         EXISTS (SELECT FROM pg_catalog.pg_trigger t WHERE t.tgrelid = c.oid \
             AND NOT t.tgisinternal AND t.tgenabled <> 'D' AND t.tgtype & 7 = 7 \
         ) AS has_before_insert_trigger, \
         {} AS replaces_insert, {} AS replaces_update, {} AS replaces_delete, \
         pg_catalog.row_security_active(c.oid) AND EXISTS ( \
             SELECT FROM pg_catalog.pg_policy p WHERE p.polrelid = c.oid AND p.polcmd <> '*' \
         ) AS may_hide_rows, \
         (SELECT pg_catalog.concat(pg_catalog.string_agg(pg_catalog.concat_ws( \
                 ' ', a.attname, a.atttypid::int8, a.atttypmod, a.attcollation::int8), ',' \
                 ORDER BY a.attnum)) \
             FROM pg_catalog.pg_attribute a \
             WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped) AS types \
         FROM pg_catalog.pg_class c WHERE c.oid = pg_catalog.to_regclass(",
        is_unique("?"),
        replaces(b'3' - b'0'),
        replaces(b'2' - b'0'),
        replaces(b'4' - b'0'),
    )
});

/// The question, of the table of this name and the columns of a key.
struct Question<'q> {
    table: &'q str,
    key: &'q [&'q str],
}

impl QueryId for Question<'_> {
    type QueryId = ();
    const HAS_STATIC_QUERY_ID: bool = false;
}

impl Query for Question<'_> {
    type SqlType = Untyped;
}

impl<Conn> RunQueryDsl<Conn> for Question<'_> {}

impl QueryFragment<Pg> for Question<'_> {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        for part in QUESTION.split_inclusive(PLACE) {
            match part.strip_suffix(PLACE) {
                Some(sql) => {
                    out.push_sql(sql);
                    out.push_bind_param::<Array<Text>, _>(self.key)?;
                }
                None => out.push_sql(part),
            }
        }
        out.push_bind_param::<Text, _>(self.table)?;
        out.push_sql(")");
        Ok(())
    }
}

/// Asks what the relation of this name is to a model with this key. One that does not exist is for the
/// statement itself to say.
pub(super) fn relation(
    table: &str,
    key: &[&str],
    conn: &mut PgConnection,
) -> QueryResult<Relation> {
    let answer: Option<Answer> = Question { table, key }.get_result(conn).optional()?;
    Ok(answer.map_or(Relation::ordinary(RelationKind::Other), Relation::from))
}

fn hash(text: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    text.hash(&mut hasher);
    hasher.finish()
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
            types: hash(&answer.types),
        }
    }
}
