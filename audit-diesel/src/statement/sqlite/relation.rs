//! What SQLite says of a relation.

use diesel::dsl::sql;
use diesel::prelude::*;
use diesel::result::QueryResult;
use diesel::sql_types::Text;

use crate::relation::{Obstacle, Relation, RelationKind};

/// Asks what the relation of this name is, which stands in backticks, behind its schema's where it has
/// one. Temporary tables shadow others.
pub(crate) fn relation(table: &str, conn: &mut SqliteConnection) -> QueryResult<Relation> {
    let (schema, name) = names(table);
    let question = sql::<Text>("SELECT type FROM pragma_table_list WHERE name = ")
        .bind::<Text, _>(name)
        .sql(" COLLATE NOCASE AND schema = coalesce(nullif(")
        .bind::<Text, _>(schema)
        .sql(", ''), schema) COLLATE NOCASE ORDER BY schema = 'temp' DESC, schema = 'main' DESC LIMIT 1");
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

/// The schema and the name in `` `schema`.`name` ``.
fn names(table: &str) -> (String, String) {
    let bare = |name: &str| {
        let inside = name.strip_prefix('`').and_then(|it| it.strip_suffix('`'));
        inside.unwrap_or(name).replace("``", "`")
    };
    match table.split_once("`.`") {
        Some((schema, name)) => (bare(&format!("{schema}`")), bare(&format!("`{name}"))),
        None => (String::new(), bare(table)),
    }
}

#[cfg(test)]
mod tests {
    use super::names;

    #[test]
    fn names_lose_their_quotes() {
        let names = |table| {
            let (schema, name) = names(table);
            format!("{schema}|{name}")
        };
        assert_eq!(names("`users`"), "|users");
        assert_eq!(names("`temp`.`us``ers`"), "temp|us`ers");
    }
}
