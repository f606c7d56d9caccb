//! What SQLite says of a relation.

use diesel::dsl::sql;
use diesel::prelude::*;
use diesel::query_builder::{AstPass, Query, QueryFragment, QueryId};
use diesel::result::QueryResult;
use diesel::sql_types::{Integer, Text};
use diesel::sqlite::Sqlite;

use crate::relation::{Obstacle, Relation, RelationKind};

/// What SQLite keeps of a schema; `pragma_table_list` is younger than RETURNING.
fn of_schema(schema: &str, place: u8) -> String {
    format!(
        "SELECT {place} AS place, name, \
         CASE WHEN sql LIKE 'CREATE VIRTUAL%' THEN 'virtual' ELSE type END AS kind \
         FROM {schema}.sqlite_master WHERE type IN ('table', 'view')"
    )
}

/// Stays prepared, as Diesel's `sql` does not.
struct SchemaVersion(String);

impl QueryId for SchemaVersion {
    type QueryId = ();
    const HAS_STATIC_QUERY_ID: bool = false;
}

impl Query for SchemaVersion {
    type SqlType = Integer;
}

impl<Conn> RunQueryDsl<Conn> for SchemaVersion {}

impl QueryFragment<Sqlite> for SchemaVersion {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Sqlite>) -> QueryResult<()> {
        out.push_sql("PRAGMA ");
        out.push_sql(&self.0);
        out.push_sql(".schema_version");
        Ok(())
    }
}

/// A number that is another one whenever somebody has changed a table, view or trigger of the schema
/// that holds this table. What this connection does to its temporary ones is seen as it is sent.
pub(super) fn schema_version(table: &str, conn: &mut SqliteConnection) -> QueryResult<i32> {
    let schema = match table.split_once("`.`") {
        Some((schema, _)) => format!("{schema}`"),
        None => "main".to_owned(),
    };
    SchemaVersion(schema).get_result(conn)
}

/// Asks what the relation of this name is, which stands in backticks, behind its schema's where it has
/// one. Temporary tables shadow others.
pub(super) fn relation(table: &str, conn: &mut SqliteConnection) -> QueryResult<Relation> {
    let (schema, name) = names(table);
    let schemas = match schema {
        Some(schema) => of_schema(&schema, 0),
        None => [of_schema("temp", 0), of_schema("main", 1)].join(" UNION ALL "),
    };
    let question = sql::<Text>(&format!("SELECT kind FROM ({schemas}) WHERE name = "))
        .bind::<Text, _>(name)
        .sql(" COLLATE NOCASE ORDER BY place LIMIT 1");
    let answer: Option<String> = question.get_result(conn).optional()?;
    Ok(decided(answer.as_deref()))
}

fn decided(kind: Option<&str>) -> Relation {
    match kind {
        Some("view") => Relation {
            update: Some(Obstacle::ViewOfSqlite),
            ..Relation::ordinary(RelationKind::View)
        },
        // An insert returns -1 for the number that it gave the row.
        Some("virtual") => Relation {
            insert: Some(Obstacle::VirtualTable),
            update: Some(Obstacle::VirtualTable),
            delete: Some(Obstacle::VirtualTable),
            ..Relation::ordinary(RelationKind::Other)
        },
        Some(_) => Relation::ordinary(RelationKind::Table),
        None => Relation::ordinary(RelationKind::Other),
    }
}

/// The schema, in its backticks, and the bare name in `` `schema`.`name` ``.
fn names(table: &str) -> (Option<String>, String) {
    let (schema, name) = match table.split_once("`.`") {
        Some((schema, name)) => (Some(format!("{schema}`")), format!("`{name}")),
        None => (None, table.to_owned()),
    };
    let bare = name.strip_prefix('`').and_then(|it| it.strip_suffix('`'));
    (schema, bare.unwrap_or(&name).replace("``", "`"))
}

#[cfg(test)]
mod tests {
    use super::names;

    #[test]
    fn names_lose_their_quotes() {
        assert_eq!(names("`users`"), (None, "users".to_owned()));
        assert_eq!(
            names("`temp`.`us``ers`"),
            (Some("`temp`".to_owned()), "us`ers".to_owned())
        );
    }
}
