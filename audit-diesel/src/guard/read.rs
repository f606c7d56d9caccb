//! Reads from SQL text which audited tables it writes.
//!
//! A look at the words decides most queries: without a verb that writes, or without the name of an
//! audited table, there is nothing to find. Only what is left is parsed.

use std::ops::ControlFlow;

use sqlparser::ast::{
    CopySource, Delete, FromTable, Insert, ObjectName, SqliteOnConflict, Statement, TableFactor,
    TableObject, visit_statements,
};
use sqlparser::dialect::{Dialect as SqlDialect, PostgreSqlDialect, SQLiteDialect};
use sqlparser::parser::Parser;

use super::GuardedTables;
use crate::recorder::Dialect;
use crate::sql::{Words, statements_that_run};

/// A raw write to an audited table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RawWrite {
    /// The table's name, with its schema where it has one.
    pub(crate) table: String,
    /// `INSERT`, `UPDATE`, …
    pub(crate) verb: &'static str,
}

/// The verbs that write rows.
const VERBS: [&str; 7] = [
    "INSERT", "UPDATE", "DELETE", "MERGE", "TRUNCATE", "REPLACE", "COPY",
];

/// Whether a text has to be read closely: a verb that writes and the name of an audited table are
/// in one of its statements.
pub(super) fn may_write(sql: &str, tables: &GuardedTables) -> bool {
    statements_that_run(sql).any(|statement| {
        let text = anonymous_block(statement).unwrap_or(statement);
        Seen::in_statement(text, tables).is_some()
    })
}

/// The raw writes to audited tables in this text.
pub(super) fn raw_writes(sql: &str, tables: &GuardedTables, dialect: Dialect) -> Vec<RawWrite> {
    let mut writes = Vec::new();
    for statement in statements_that_run(sql) {
        if let Some(block) = anonymous_block(statement) {
            writes.extend(Seen::in_statement(block, tables).and_then(|seen| seen.as_write()));
            continue;
        }
        let Some(seen) = Seen::in_statement(statement, tables) else {
            continue;
        };
        match parse(statement, dialect) {
            Some(parsed) => parsed
                .iter()
                .for_each(|statement| find_writes(statement, tables, &mut writes)),
            // What cannot be read and names an audited table counts as a write.
            None => writes.extend(seen.as_write()),
        }
    }
    writes
}

/// Statements that define something, and write no row: `GRANT UPDATE ON …`, `… ON DELETE CASCADE`.
const DEFINITIONS: [&str; 6] = ["CREATE", "ALTER", "DROP", "GRANT", "REVOKE", "COMMENT"];

/// The code of a `DO` block, which runs at once and which no parser here can read.
fn anonymous_block(statement: &str) -> Option<&str> {
    let is_block = Words::new(statement)
        .next()
        .is_some_and(|first| first.eq_ignore_ascii_case("do"));
    let body = &statement[statement.find('$')?..];
    is_block.then(|| body.trim_start_matches(|c: char| c == '$' || c.is_alphanumeric() || c == '_'))
}

/// What the words of a statement show: a verb that writes, and the name of an audited table.
struct Seen<'a> {
    verb: &'static str,
    table: String,
    statement: &'a str,
}

impl<'a> Seen<'a> {
    fn in_statement(statement: &'a str, tables: &GuardedTables) -> Option<Self> {
        // Most statements have no such verb, and their names need no looking up.
        let verb = first_verb(statement)?;
        let table = Words::new(statement)
            .map(unquoted)
            .find(|name| tables.may_be(name))?
            .to_lowercase();
        Some(Self {
            verb,
            table,
            statement,
        })
    }

    fn as_write(&self) -> Option<RawWrite> {
        if self.verb == "COPY" && copies_out(self.statement) {
            return None;
        }
        Some(RawWrite {
            table: self.table.clone(),
            verb: self.verb,
        })
    }
}

fn first_verb(statement: &str) -> Option<&'static str> {
    let mut previous = "";
    for word in Words::new(statement) {
        let is_first = previous.is_empty();
        if is_first && DEFINITIONS.iter().any(|d| word.eq_ignore_ascii_case(d)) {
            return None;
        }
        // `SELECT … FOR UPDATE` locks, and writes nothing.
        let locks = ["for", "key"]
            .iter()
            .any(|w| previous.eq_ignore_ascii_case(w));
        let verb = VERBS
            .into_iter()
            .find(|verb| word.eq_ignore_ascii_case(verb));
        if verb.is_some() && !locks {
            return verb;
        }
        previous = word;
    }
    None
}

fn unquoted(word: &str) -> &str {
    for quote in ['"', '`'] {
        if let Some(name) = word.strip_prefix(quote).and_then(|w| w.strip_suffix(quote)) {
            return name;
        }
    }
    word
}

/// `COPY … TO` reads; its options are not all known to the parser.
fn copies_out(statement: &str) -> bool {
    let direction = Words::new(statement)
        .find(|word| ["to", "from"].iter().any(|d| word.eq_ignore_ascii_case(d)));
    direction.is_some_and(|word| word.eq_ignore_ascii_case("to"))
}

fn parse(statement: &str, dialect: Dialect) -> Option<Vec<Statement>> {
    let dialect: &dyn SqlDialect = match dialect {
        Dialect::Postgres => &PostgreSqlDialect {},
        Dialect::Sqlite => &SQLiteDialect {},
    };
    let parser = Parser::new(dialect).try_with_sql(statement).ok()?;
    parser.with_recursion_limit(100).parse_statements().ok()
}

fn find_writes(statement: &Statement, tables: &GuardedTables, writes: &mut Vec<RawWrite>) {
    if only_explains(statement) {
        return;
    }
    let _: ControlFlow<()> = visit_statements(statement, |statement| {
        for (verb, name) in targets(statement) {
            if let Some(table) = tables.named_by(&name) {
                writes.push(RawWrite { table, verb });
            }
        }
        ControlFlow::Continue(())
    });
}

/// EXPLAIN runs nothing, unless it is told to ANALYZE.
fn only_explains(statement: &Statement) -> bool {
    let Statement::Explain {
        analyze, options, ..
    } = statement
    else {
        return false;
    };
    let asked = options
        .iter()
        .flatten()
        .any(|option| option.name.value.eq_ignore_ascii_case("analyze"));
    !analyze && !asked
}

/// What a statement writes itself: a verb, and the parts of a table's name.
type Target = (&'static str, Vec<String>);

fn targets(statement: &Statement) -> Vec<Target> {
    match statement {
        Statement::Insert(insert) => inserted(insert).into_iter().collect(),
        Statement::Update(update) => written("UPDATE", &update.table.relation)
            .into_iter()
            .collect(),
        Statement::Delete(delete) => deleted(delete),
        Statement::Merge(merge) => written("MERGE", &merge.table).into_iter().collect(),
        Statement::Truncate(truncate) => truncate
            .table_names
            .iter()
            .map(|target| ("TRUNCATE", parts(&target.name)))
            .collect(),
        Statement::Copy {
            source: CopySource::Table { table_name, .. },
            to: false,
            ..
        } => vec![("COPY", parts(table_name))],
        _ => Vec::new(),
    }
}

fn inserted(insert: &Insert) -> Option<Target> {
    let replaces = insert.replace_into || matches!(insert.or, Some(SqliteOnConflict::Replace));
    let verb = if replaces { "REPLACE" } else { "INSERT" };
    match &insert.table {
        TableObject::TableName(name) => Some((verb, parts(name))),
        _ => None,
    }
}

fn deleted(delete: &Delete) -> Vec<Target> {
    let (FromTable::WithFromKeyword(from) | FromTable::WithoutKeyword(from)) = &delete.from;
    from.iter()
        .filter_map(|table| written("DELETE", &table.relation))
        .collect()
}

fn written(verb: &'static str, factor: &TableFactor) -> Option<Target> {
    let TableFactor::Table { name, alias, .. } = factor else {
        return None;
    };
    match (parts(name), alias) {
        // The parser takes PostgreSQL's `UPDATE ONLY users` for a table called `only`.
        (only, Some(alias)) if only.len() == 1 && only[0].eq_ignore_ascii_case("only") => {
            Some((verb, vec![alias.name.value.clone()]))
        }
        (parts, _) => Some((verb, parts)),
    }
}

fn parts(name: &ObjectName) -> Vec<String> {
    name.0
        .iter()
        .filter_map(|part| part.as_ident())
        .map(|ident| ident.value.clone())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(sql: &str, dialect: Dialect) -> Vec<String> {
        let mut tables = GuardedTables::default();
        tables.extend(["public.users", "auth.keys"]);
        raw_writes(sql, &tables, dialect)
            .into_iter()
            .map(|write| format!("{} {}", write.verb, write.table))
            .collect()
    }

    #[test]
    fn raw_writes_are_seen() {
        for (sql, expected) in [
            (r#"INSERT INTO "users" ("id") VALUES ($1)"#, "INSERT users"),
            (
                r#"INSERT INTO "users" ("id") VALUES ($1) ON CONFLICT DO NOTHING"#,
                "INSERT users",
            ),
            (
                r#"INSERT INTO "users" DEFAULT VALUES RETURNING "users"."id""#,
                "INSERT users",
            ),
            ("insert into users select * from staging", "INSERT users"),
            (
                r#"UPDATE "users" SET "role" = $1 WHERE ("users"."id" = $2)"#,
                "UPDATE users",
            ),
            (
                r#"UPDATE "users" SET "a" = $1 RETURNING "users"."a""#,
                "UPDATE users",
            ),
            (
                "UPDATE users u SET a = 1 FROM other o WHERE o.id = u.id",
                "UPDATE users",
            ),
            ("uPdAtE UsErS sEt A = 1", "UPDATE users"),
            ("UPDATE ONLY users SET a = 1", "UPDATE users"),
            ("UPDATE public.users SET a = 1", "UPDATE users"),
            (r#"UPDATE "public"."users" SET a = 1"#, "UPDATE users"),
            (
                r#"DELETE  FROM "users" WHERE ("users"."id" = $1)"#,
                "DELETE users",
            ),
            (
                "DELETE FROM users USING other WHERE other.id = users.id",
                "DELETE users",
            ),
            ("delete\n\tfrom\nusers", "DELETE users"),
            ("TRUNCATE users", "TRUNCATE users"),
            (
                "TRUNCATE TABLE other, users RESTART IDENTITY CASCADE",
                "TRUNCATE users",
            ),
            (
                "MERGE INTO users USING s ON s.id = users.id WHEN MATCHED THEN DELETE",
                "MERGE users",
            ),
            ("COPY users (id, role) FROM STDIN", "COPY users"),
            (
                r#"COPY "users" ("id") FROM STDIN WITH (FORMAT BINARY)"#,
                "COPY users",
            ),
            ("UPDATE auth.keys SET a = 1", "UPDATE auth.keys"),
            (r#"DELETE FROM "auth"."keys""#, "DELETE auth.keys"),
            ("INSERT INTO auth . keys VALUES (1)", "INSERT auth.keys"),
            ("/* users */ UPDATE users SET a = 1", "UPDATE users"),
            ("-- why\nUPDATE users SET a = 1", "UPDATE users"),
            (
                "UPDATE /* hidden /* nested */ */ users SET a = 1",
                "UPDATE users",
            ),
            ("SELECT 1; UPDATE users SET a = 1", "UPDATE users"),
            ("BEGIN; DELETE FROM users; COMMIT", "DELETE users"),
            (
                "WITH x AS (UPDATE users SET a = 1 RETURNING *) SELECT * FROM x",
                "UPDATE users",
            ),
            (
                "WITH x AS (DELETE FROM users RETURNING *) INSERT INTO log SELECT * FROM x",
                "DELETE users",
            ),
            (
                "WITH x AS (SELECT 1) UPDATE users SET a = 1",
                "UPDATE users",
            ),
            ("EXPLAIN ANALYZE UPDATE users SET a = 1", "UPDATE users"),
            (
                "EXPLAIN (ANALYZE, BUFFERS) DELETE FROM users",
                "DELETE users",
            ),
            ("PREPARE p AS UPDATE users SET a = $1", "UPDATE users"),
            ("DO $$ BEGIN UPDATE users SET a = 1; END $$", "UPDATE users"),
            ("DO $x$ BEGIN DELETE FROM users; END $x$", "DELETE users"),
            ("UPDATE users SET a = 'it''s; --'", "UPDATE users"),
            ("UPDATE users SET a = E'\\'; SELECT '", "UPDATE users"),
            ("UPDATE users SET a = = 1", "UPDATE users"),
            ("UPDATE users SET GIBBERISH ~~ (", "UPDATE users"),
        ] {
            let found = seen(sql, Dialect::Postgres);
            assert!(found.iter().any(|f| f == expected), "{sql}: {found:?}");
        }
        for (sql, expected) in [
            ("REPLACE INTO users VALUES (1)", "REPLACE users"),
            ("INSERT OR REPLACE INTO users VALUES (1)", "REPLACE users"),
            (
                "INSERT OR IGNORE INTO `users` (`id`) VALUES (?)",
                "INSERT users",
            ),
            (
                "UPDATE `users` SET `a` = ? WHERE (`users`.`id` = ?)",
                "UPDATE users",
            ),
            (
                "DELETE  FROM `users` WHERE (`users`.`id` = ?)",
                "DELETE users",
            ),
            ("UPDATE OR IGNORE users SET a = 1", "UPDATE users"),
            ("UPDATE main.users SET a = 1", "UPDATE users"),
            ("UPDATE [users] SET a = 1", "UPDATE users"),
        ] {
            let found = seen(sql, Dialect::Sqlite);
            assert!(found.iter().any(|f| f == expected), "{sql}: {found:?}");
        }
    }

    #[test]
    fn what_writes_no_audited_table_raises_no_alarm() {
        for sql in [
            r#"SELECT "users"."id" FROM "users" WHERE ("users"."id" = $1)"#,
            r#"SELECT "users"."id" FROM "users" FOR UPDATE"#,
            "SELECT * FROM users FOR NO KEY UPDATE SKIP LOCKED",
            "SELECT * FROM users WHERE note = 'UPDATE users'",
            "SELECT \"update\" FROM users",
            "SELECT replace(name, 'a', 'b') FROM users",
            "SELECT users.delete FROM users",
            "UPDATE users_archive SET a = 1",
            "UPDATE other SET users = 1",
            "UPDATE other SET a = (SELECT max(id) FROM users)",
            "UPDATE other SET a = 1 FROM users WHERE users.id = other.id",
            "INSERT INTO other SELECT * FROM users",
            "INSERT INTO other (users) VALUES (1)",
            "INSERT INTO other VALUES ('DELETE FROM users')",
            "DELETE FROM other USING users WHERE users.id = other.user_id",
            "DELETE FROM other WHERE id IN (SELECT id FROM users)",
            "MERGE INTO other USING users ON users.id = other.id WHEN MATCHED THEN DELETE",
            "UPDATE billing.users SET a = 1",
            "UPDATE keys SET a = 1",
            "UPDATE other SET a = 1 -- users",
            "/* UPDATE users */ SELECT 1 FROM users",
            "EXPLAIN UPDATE users SET a = 1",
            "COPY users TO STDOUT",
            "COPY (SELECT * FROM users) TO STDOUT WITH (FORMAT BINARY)",
            "CREATE TABLE users_2 AS SELECT * FROM users",
            "CREATE INDEX i ON users (update_time)",
            "CREATE TRIGGER t AFTER UPDATE ON users FOR EACH ROW EXECUTE FUNCTION f()",
            "CREATE TRIGGER t AFTER INSERT ON users BEGIN UPDATE users SET a = 1; DELETE FROM users; END;",
            "ALTER TABLE orders ADD FOREIGN KEY (u) REFERENCES users ON DELETE CASCADE",
            "GRANT UPDATE ON users TO app",
            "DO $$ BEGIN PERFORM count(*) FROM users; END $$",
            "WITH x AS (DELETE FROM other RETURNING *) SELECT * FROM x JOIN users USING (id)",
            "COMMIT",
            "",
        ] {
            for dialect in [Dialect::Postgres, Dialect::Sqlite] {
                assert_eq!(seen(sql, dialect), [""; 0], "{sql}");
            }
        }
    }
}
