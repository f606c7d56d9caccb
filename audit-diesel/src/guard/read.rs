//! Reads from SQL text which audited tables it writes.
//!
//! A look at the words decides most queries: without a verb that writes, or without the name of an
//! audited table, there is nothing to find. In what is left, verbs count where a statement can begin:
//! at the beginning, in the parentheses of a WITH clause and behind it, behind EXPLAIN and PREPARE.
//! What such a statement writes stands next to its verb, so the rest of it needs no reading, in
//! whatever SQL it is.

use super::targets::{Target, anywhere, targets};
use super::texts::text_at;
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
        let found = found(statement, tables, dialect);
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

fn found(statement: &str, tables: &GuardedTables, dialect: Dialect) -> Vec<Found> {
    match is_block(statement) {
        true => of_block(&code_of(statement, dialect), tables, dialect),
        false if may_write(statement, tables) => {
            audited(targets(&tokens(statement, dialect), dialect), tables)
        }
        false => Vec::new(),
    }
}

/// Whether a statement has to be read closely: a verb that writes and the name of an audited table
/// are in it.
fn may_write(statement: &str, tables: &GuardedTables) -> bool {
    has_verb(statement) && Words::new(statement).any(|word| names(word, tables))
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

/// The code of a `DO` block, which runs at once.
fn code_of(statement: &str, dialect: Dialect) -> String {
    texts(&tokens(statement, dialect)).join(" ")
}

/// What the texts among these tokens say.
fn texts(tokens: &[Token<'_>]) -> Vec<String> {
    let texts = tokens.iter().enumerate();
    let texts = texts.filter(|(_, token)| token.kind == Kind::Text);
    texts.map(|(at, _)| text_at(tokens, at)).collect()
}

/// Code in another language, whose statements can begin anywhere.
fn of_block(code: &str, tables: &GuardedTables, dialect: Dialect) -> Vec<Found> {
    let read = tokens(code, dialect);
    let mut found = audited(anywhere(&read, dialect), tables);
    if read.iter().any(|token| token.is_word("execute")) {
        for write in of_executed(&texts(&read), tables, dialect) {
            if !found.contains(&write) {
                found.push(write);
            }
        }
    }
    found
}

/// SQL that code puts together of texts. Where no text has a verb and its table side by side, it cannot
/// be read: that the texts name both has to do.
fn of_executed(texts: &[String], tables: &GuardedTables, dialect: Dialect) -> Vec<Found> {
    let together = texts.join(" ");
    let read = tokens(&together, dialect);
    let found = audited(anywhere(&read, dialect), tables);
    if !found.is_empty() {
        return found;
    }
    let is_in = |verb: &&str| Words::new(&together).any(|word| word.eq_ignore_ascii_case(verb));
    let verbs: Vec<_> = VERBS.into_iter().filter(is_in).collect();
    let written = |word: &str| {
        let mut writes = verbs.iter().map(|verb| Target::named(verb, word));
        writes.find_map(|target| Some((target.verb, tables.written_by(&target)?)))
    };
    Words::new(&together).filter_map(written).collect()
}
