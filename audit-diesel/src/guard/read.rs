//! Reads from SQL text which audited tables it writes.
//!
//! A look at the words decides most queries: without a verb that writes, or without the name of an
//! audited table, there is nothing to find. In what is left, verbs count where a statement can begin:
//! at the beginning, in the parentheses of a WITH clause and behind it, behind EXPLAIN and PREPARE.
//! What such a statement writes stands next to its verb, so the rest of it needs no reading, in
//! whatever SQL it is.

use super::targets::{Target, targets};
use super::tokens::{Kind, Token, tokens, without_literals};
use super::{GuardedTables, RawWrite};
use crate::dialect::Dialect;
use crate::sql::{Words, statements_that_run};

/// The verbs that write rows.
const VERBS: [&str; 7] = [
    "INSERT", "UPDATE", "DELETE", "MERGE", "TRUNCATE", "REPLACE", "COPY",
];

/// The raw writes to audited tables in this text.
pub(super) fn raw_writes(sql: &str, tables: &GuardedTables, dialect: Dialect) -> Vec<RawWrite> {
    let mut writes = Vec::new();
    for statement in statements_that_run(sql) {
        if !may_write(statement, tables) {
            continue;
        }
        let found = match anonymous_block(statement, dialect) {
            Some(code) => of_block(&code, tables, dialect),
            None => audited(targets(&tokens(statement, dialect), dialect), tables),
        };
        if found.is_empty() {
            continue;
        }
        let shown = without_literals(statement, dialect, |name| tables.may_be(name));
        writes.extend(found.into_iter().map(|(verb, table)| RawWrite {
            table,
            verb,
            statement: shown.clone(),
        }));
    }
    writes
}

/// Whether a statement has to be read closely: a verb that writes and the name of an audited table
/// are in it, or in the code of a `DO` block.
fn may_write(statement: &str, tables: &GuardedTables) -> bool {
    let may_write = |text: &str| has_verb(text) && Words::new(text).any(|w| names(w, tables));
    match is_block(statement) {
        true => may_write(&without_quotes(statement)),
        false => may_write(statement),
    }
}

fn has_verb(text: &str) -> bool {
    Words::new(text).any(|word| VERBS.iter().any(|verb| word.eq_ignore_ascii_case(verb)))
}

fn names(word: &str, tables: &GuardedTables) -> bool {
    let quoted = |quote: char| word.strip_prefix(quote).and_then(|w| w.strip_suffix(quote));
    let inside = ['"', '`', '\''].into_iter().find_map(quoted);
    // `U&"…"` may name anything.
    tables.may_be(inside.unwrap_or(word)) || inside.is_some_and(|name| name.contains('\\'))
}

/// A verb, and the audited table that it writes.
type Found = (&'static str, String);

fn audited(targets: Vec<Target>, tables: &GuardedTables) -> Vec<Found> {
    let audited = |target: Target| {
        let table = tables.written_by(&target)?;
        Some((target.verb, table))
    };
    targets.into_iter().filter_map(audited).collect()
}

fn is_block(statement: &str) -> bool {
    let first = Words::new(statement).next();
    first.is_some_and(|first| first.eq_ignore_ascii_case("do"))
}

fn without_quotes(code: &str) -> String {
    code.replace(['$', '\''], " ")
}

/// The code of a `DO` block, which runs at once.
fn anonymous_block(statement: &str, dialect: Dialect) -> Option<String> {
    if !is_block(statement) {
        return None;
    }
    let texts = tokens(statement, dialect);
    let texts = texts.iter().filter(|token| token.kind == Kind::Text);
    Some(texts.map(unquoted).collect::<Vec<_>>().join(" "))
}

fn unquoted(token: &Token<'_>) -> String {
    let text = token.text;
    match text.as_bytes() {
        [b'$', ..] => {
            let tag = text[1..].find('$').map_or(0, |end| end + 2);
            let code = text.get(tag..text.len() - tag);
            code.unwrap_or_default().to_owned()
        }
        _ => text.trim_matches('\'').replace("''", "'"),
    }
}

/// Code in another language, whose statements can begin anywhere.
fn of_block(code: &str, tables: &GuardedTables, dialect: Dialect) -> Vec<Found> {
    let read = tokens(code, dialect);
    let mut found = audited(super::targets::anywhere(&read, dialect), tables);
    // SQL that the code puts together cannot be read: that it may be about the table has to do.
    if found.is_empty() && read.iter().any(|token| token.is_word("execute")) {
        let words = without_quotes(code);
        let is_verb = |verb: &&str| Words::new(&words).any(|w| w.eq_ignore_ascii_case(verb));
        let verb = VERBS.into_iter().find(is_verb);
        let parts = |word: &str| Target::named(verb.unwrap_or_default(), word);
        let tables = Words::new(&words).filter_map(|word| tables.written_by(&parts(word)));
        found.extend(verb.into_iter().zip(tables));
    }
    found
}
