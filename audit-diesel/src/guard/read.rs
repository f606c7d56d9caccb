//! Reads from SQL text which audited tables it writes.
//!
//! A look at the words decides most queries: without a verb that writes, or without the name of an
//! audited table, there is nothing to find. Only what is left is parsed.

use std::ops::ControlFlow;

use sqlparser::ast::{
    CopySource, Delete, FromTable, Insert, ObjectName, SqliteOnConflict, Statement, TableFactor,
    TableObject, UtilityOption, visit_statements,
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
        let block = anonymous_block(statement);
        let text = block.as_deref().unwrap_or(statement);
        Seen::in_statement(text, tables).is_some()
    })
}

/// The raw writes to audited tables in this text.
pub(super) fn raw_writes(sql: &str, tables: &GuardedTables, dialect: Dialect) -> Vec<RawWrite> {
    let mut writes = Vec::new();
    for statement in statements_that_run(sql) {
        if let Some(block) = anonymous_block(statement) {
            writes.extend(Seen::in_statement(&block, tables).and_then(|seen| seen.as_write()));
            continue;
        }
        let Some(seen) = Seen::in_statement(statement, tables) else {
            continue;
        };
        match parse(statement, dialect) {
            Some(parsed) => parsed
                .iter()
                .filter(|parsed| !is_definition(statement) || is_table(parsed))
                .for_each(|statement| find_writes(statement, tables, &mut writes)),
            // What cannot be read and names an audited table counts as a write.
            None => writes.extend(seen.as_write()),
        }
    }
    writes
}

/// Statements that define something: `GRANT UPDATE ON …`, `… ON DELETE CASCADE`. They write no
/// row, apart from `CREATE TABLE … AS` with a write in its WITH clause.
const DEFINITIONS: [&str; 6] = ["CREATE", "ALTER", "DROP", "GRANT", "REVOKE", "COMMENT"];

fn is_definition(statement: &str) -> bool {
    let first = Words::new(statement).next();
    first.is_some_and(|word| is_one_of(word, &DEFINITIONS))
}

/// The words of a `DO` block, which runs at once and which no parser here can read: those in quotes
/// as well, which are its code and the SQL that this builds.
fn anonymous_block(statement: &str) -> Option<String> {
    let first = Words::new(statement).next();
    let is_block = first.is_some_and(|first| is_one_of(first, &["do"]));
    is_block.then(|| statement.replace(['$', '\''], " "))
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
        let copies_out = self.verb == "COPY" && copies_out(self.statement);
        if copies_out || is_definition(self.statement) {
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
    let mut words = Words::new(statement).peekable();
    while let Some(word) = words.next() {
        let is_verb = |verb: &&str| word.eq_ignore_ascii_case(verb);
        let verb = VERBS.into_iter().find(is_verb).filter(|verb| match *verb {
            // `SELECT … FOR UPDATE`, `FOR NO KEY UPDATE` lock, and write nothing.
            "UPDATE" => !is_one_of(previous, &["for", "key"]),
            // `replace(…)` is a function.
            "REPLACE" => words.peek().is_some_and(|next| is_one_of(next, &["into"])),
            _ => true,
        });
        if verb.is_some() {
            return verb;
        }
        previous = word;
    }
    None
}

fn is_one_of(word: &str, words: &[&str]) -> bool {
    words.iter().any(|other| word.eq_ignore_ascii_case(other))
}

fn unquoted(word: &str) -> &str {
    // SQLite takes any of these around a name.
    for quote in ['"', '`', '\''] {
        if let Some(name) = word.strip_prefix(quote).and_then(|w| w.strip_suffix(quote)) {
            return name;
        }
    }
    word
}

/// `COPY … TO` reads; its options are not all known to the parser.
fn copies_out(statement: &str) -> bool {
    let direction = Words::new(statement).find(|word| is_one_of(word, &["to", "from"]));
    direction.is_some_and(|word| is_one_of(word, &["to"]))
}

fn parse(statement: &str, dialect: Dialect) -> Option<Vec<Statement>> {
    let dialect: &dyn SqlDialect = match dialect {
        Dialect::Postgres => &PostgreSqlDialect {},
        Dialect::Sqlite => &SQLiteDialect {},
    };
    let parser = Parser::new(dialect).try_with_sql(statement).ok()?;
    parser.with_recursion_limit(100).parse_statements().ok()
}

/// A body that comes with another definition, such as a trigger's, runs later.
fn is_table(statement: &Statement) -> bool {
    matches!(statement, Statement::CreateTable(_))
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
        .any(|option| is_one_of(&option.name.value, &["analyze"]) && !is_off(option));
    !analyze && !asked
}

/// `ANALYZE false`
fn is_off(option: &UtilityOption) -> bool {
    let value = option.arg.as_ref().map(ToString::to_string);
    value.is_some_and(|value| is_one_of(value.trim_matches('\''), &["false", "off", "0"]))
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
