//! Finds what a statement writes: a verb, and the table's name next to it.

use super::tokens::{Kind, Token};
use crate::dialect::Dialect;

/// What a statement writes.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Target {
    /// `INSERT`, `UPDATE`, …
    pub(super) verb: &'static str,
    /// The parts of the table's name: `["auth", "users"]`.
    pub(super) parts: Vec<String>,
    /// Whether rows that are there already may change.
    pub(super) changes_rows: bool,
}

impl Target {
    /// A table by its name alone.
    pub(super) fn named(verb: &'static str, table: &str) -> Self {
        Self::new(verb, vec![table.to_owned()])
    }

    fn new(verb: &'static str, parts: Vec<String>) -> Self {
        Self {
            verb,
            parts,
            changes_rows: !matches!(verb, "INSERT" | "COPY"),
        }
    }
}

/// What a statement of these tokens writes.
pub(super) fn targets(tokens: &[Token<'_>], dialect: Dialect) -> Vec<Target> {
    let mut reader = Reader::new(tokens, dialect);
    reader.statement(0, 0);
    reader.targets
}

/// What is written by statements that may begin anywhere, as in code around them.
pub(super) fn anywhere(tokens: &[Token<'_>], dialect: Dialect) -> Vec<Target> {
    let mut reader = Reader::new(tokens, dialect);
    reader.anywhere(0);
    reader.targets
}

/// Statements deeper inside of each other than this are looked for anywhere.
const MAX_DEPTH: usize = 50;

/// What stands before a verb that begins no statement: a column of that name, or a part of another
/// clause, such as `FOR UPDATE`, `ON DELETE`, `GRANT DELETE, UPDATE ON`.
const NOT_BEFORE_A_VERB: [&str; 9] = [
    "select", "for", "key", "on", "share", "or", "before", "after", "grant",
];

/// Words that are no names, and may follow a verb.
const NO_NAMES: [&str; 9] = [
    "set", "from", "into", "select", "values", "where", "on", "of", "using",
];

struct Reader<'t, 's> {
    tokens: &'t [Token<'s>],
    dialect: Dialect,
    targets: Vec<Target>,
}

impl<'t, 's> Reader<'t, 's> {
    fn new(tokens: &'t [Token<'s>], dialect: Dialect) -> Self {
        Self {
            tokens,
            dialect,
            targets: Vec::new(),
        }
    }

    fn is_word(&self, at: usize, word: &str) -> bool {
        self.tokens.get(at).is_some_and(|token| token.is_word(word))
    }

    fn is_mark(&self, at: usize, mark: &str) -> bool {
        self.tokens.get(at).is_some_and(|token| token.is_mark(mark))
    }

    /// The place behind the word, where that stands here.
    fn skip(&self, at: usize, word: &str) -> usize {
        at + usize::from(self.is_word(at, word))
    }

    fn skip_mark(&self, at: usize, mark: &str) -> usize {
        at + usize::from(self.is_mark(at, mark))
    }

    /// Reads the statement that begins here.
    fn statement(&mut self, at: usize, depth: usize) {
        if depth > MAX_DEPTH {
            return self.anywhere(at);
        }
        let mut at = at;
        while self.is_mark(at, "(") {
            at += 1;
        }
        if self.is_word(at, "with") {
            if let Some(main) = self.with_clause(at + 1, depth) {
                self.statement(main, depth + 1);
            }
        } else if self.is_word(at, "explain") {
            if let Some(explained) = self.what_runs_explained(at + 1) {
                self.statement(explained, depth + 1);
            }
        } else if self.is_word(at, "prepare") {
            if let Some(prepared) = self.find_outside(at, |token| token.is_word("as")) {
                self.statement(prepared + 1, depth + 1);
            }
        } else if self.is_word(at, "create") {
            if let Some(query) = self.query_of_new_table(at + 1) {
                self.statement(query, depth + 1);
            }
        } else if self.is_word(at, "copy") && self.is_mark(at + 1, "(") {
            self.statement(at + 2, depth + 1);
        } else {
            self.verb(at);
        }
    }

    fn anywhere(&mut self, from: usize) {
        for at in from..self.tokens.len() {
            let before = at.checked_sub(1).and_then(|before| self.tokens.get(before));
            if !before.is_some_and(makes_a_part) {
                self.verb(at);
            }
        }
    }

    /// Reads the clause, and finds the place of the statement behind it.
    fn with_clause(&mut self, at: usize, depth: usize) -> Option<usize> {
        let names_itself = |at| self.is_word(at, "as") || self.is_mark(at, "(");
        let mut at = match self.is_word(at, "recursive") && !names_itself(at + 1) {
            true => at + 1,
            false => at,
        };
        loop {
            at += 1;
            if self.is_mark(at, "(") {
                at = self.behind_parentheses(at);
            }
            let at_body = self.skip(self.skip(self.skip(at, "as"), "not"), "materialized");
            if !self.is_mark(at_body, "(") {
                // Not as it is known: better a verb too many than one that is missed.
                self.anywhere(at);
                return None;
            }
            self.statement(at_body + 1, depth + 1);
            at = self.behind_parentheses(at_body);
            at = self.behind_clause(at, "search", "set");
            at = self.behind_clause(at, "cycle", "using");
            if !self.is_mark(at, ",") {
                return Some(at);
            }
            at += 1;
        }
    }

    /// The place behind a clause that begins with a word and ends with another one and a name.
    fn behind_clause(&self, at: usize, first: &str, last: &str) -> usize {
        let end = || self.find_outside(at, |token| token.is_word(last));
        match self.is_word(at, first).then(end).flatten() {
            Some(last) => last + 2,
            None => at,
        }
    }

    /// EXPLAIN runs nothing, unless it is told to ANALYZE.
    fn what_runs_explained(&self, at: usize) -> Option<usize> {
        if self.is_word(at, "query") {
            return None;
        }
        if self.is_mark(at, "(") {
            let end = self.behind_parentheses(at);
            let options = self.tokens.get(at + 1..end.checked_sub(1)?)?;
            let of_analyze = |option: &&[Token<'_>]| option.first().is_some_and(is_analyze);
            let last = options
                .split(|token| token.is_mark(","))
                .rfind(of_analyze)?;
            return (!last.get(1).is_some_and(is_off)).then_some(end);
        }
        let is_analyzed = self.tokens.get(at).is_some_and(is_analyze);
        is_analyzed.then(|| self.skip(at + 1, "verbose"))
    }

    /// `CREATE TABLE … AS WITH … `: data that another statement returns may come from a write.
    fn query_of_new_table(&self, at: usize) -> Option<usize> {
        let is_table = (at..at + 3).any(|at| self.is_word(at, "table"));
        let query = self.find_outside(at, |token| token.is_word("as"));
        query.filter(|_| is_table).map(|at| at + 1)
    }

    /// The next such token from here on that is in no parentheses.
    fn find_outside(&self, at: usize, is_it: impl Fn(&Token<'_>) -> bool) -> Option<usize> {
        let mut at = at;
        while let Some(token) = self.tokens.get(at) {
            if is_it(token) {
                return Some(at);
            }
            at = match token.is_mark("(") {
                true => self.behind_parentheses(at),
                false => at + 1,
            };
        }
        None
    }

    fn behind_parentheses(&self, at: usize) -> usize {
        let mut open = 0;
        for (place, token) in self.tokens.iter().enumerate().skip(at) {
            if token.is_mark("(") {
                open += 1;
            } else if token.is_mark(")") {
                open -= 1;
                if open == 0 {
                    return place + 1;
                }
            }
        }
        self.tokens.len()
    }

    /// Reads what a verb that stands here writes.
    fn verb(&mut self, at: usize) {
        let Some(word) = self.tokens.get(at).filter(|it| it.kind == Kind::Word) else {
            return;
        };
        match word.text.to_ascii_uppercase().as_str() {
            "INSERT" => self.insert(at),
            "REPLACE" if self.is_word(at + 1, "into") => self.add("REPLACE", at + 2),
            "UPDATE" => self.add("UPDATE", self.behind_or(at + 1)),
            "DELETE" if self.is_word(at + 1, "from") => self.add("DELETE", at + 2),
            "MERGE" if self.is_word(at + 1, "into") => self.add("MERGE", at + 2),
            "TRUNCATE" => self.truncate(at + 1),
            "COPY" => self.copy(at + 1),
            _ => {}
        }
    }

    /// SQLite's `UPDATE OR IGNORE`, `INSERT OR REPLACE`.
    fn behind_or(&self, at: usize) -> usize {
        at + 2 * usize::from(self.is_word(at, "or"))
    }

    fn insert(&mut self, at: usize) {
        let at_into = self.behind_or(at + 1);
        if !self.is_word(at_into, "into") {
            return;
        }
        let replaces = at_into == at + 3 && self.is_word(at + 2, "replace");
        self.add(if replaces { "REPLACE" } else { "INSERT" }, at_into + 1);
        let mut rest = self.tokens[at_into..].windows(2);
        let updates = rest.any(|pair| pair[0].is_word("do") && pair[1].is_word("update"));
        if let Some(insert) = self.targets.last_mut() {
            insert.changes_rows |= updates;
        }
    }

    fn truncate(&mut self, at: usize) {
        let mut at = self.skip(at, "table");
        while let Some((parts, end)) = self.table(at) {
            self.targets.push(Target::new("TRUNCATE", parts));
            let end = self.skip_mark(end, "*");
            if !self.is_mark(end, ",") {
                return;
            }
            at = end + 1;
        }
    }

    /// `COPY users FROM …` writes, `COPY users TO …` reads.
    fn copy(&mut self, at: usize) {
        let at = match self.is_word(at, "binary") && !self.is_word(at + 1, "from") {
            true => at + 1,
            false => at,
        };
        let Some((parts, mut end)) = self.table(at) else {
            return;
        };
        if self.is_mark(end, "(") {
            end = self.behind_parentheses(end);
        }
        if self.is_word(end, "from") {
            self.targets.push(Target::new("COPY", parts));
        }
    }

    fn add(&mut self, verb: &'static str, at: usize) {
        if let Some((parts, _)) = self.table(at) {
            self.targets.push(Target::new(verb, parts));
        }
    }

    /// A table's name, and the place behind it.
    fn table(&self, at: usize) -> Option<(Vec<String>, usize)> {
        let mut at = at;
        // `ONLY users`, `ONLY (users)`: without the tables that inherit from it.
        let is_only = self.is_word(at, "only") && self.may_be_name(at + 1);
        if is_only {
            at = self.skip_mark(at + 1, "(");
        }
        if !self.may_be_name(at) {
            return None;
        }
        let mut parts = Vec::new();
        loop {
            let (name, end) = self.name(at)?;
            parts.push(name);
            if !self.is_mark(end, ".") {
                let end = if is_only {
                    self.skip_mark(end, ")")
                } else {
                    end
                };
                return Some((parts, end));
            }
            at = end + 1;
        }
    }

    fn may_be_name(&self, at: usize) -> bool {
        let may_be = |token: &Token<'_>| token.kind != Kind::Number && !token.is_mark(")");
        let is_keyword = NO_NAMES.iter().any(|word| self.is_word(at, word));
        !is_keyword && self.tokens.get(at).is_some_and(may_be)
    }

    fn name(&self, at: usize) -> Option<(String, usize)> {
        let token = self.tokens.get(at)?;
        if let Some([and, quoted]) = self.tokens.get(at + 1..at + 3)
            && token.is_word("u")
            && and.is_mark("&")
            && quoted.kind == Kind::Quoted
            && and.is_close()
            && quoted.is_close()
        {
            return Some((unescaped(&quoted.name(self.dialect)?), at + 3));
        }
        Some((token.name(self.dialect)?, at + 1))
    }
}

/// Whether what follows it is a part of something, and begins no statement.
fn makes_a_part(token: &Token<'_>) -> bool {
    let is_before = NOT_BEFORE_A_VERB.iter().any(|word| token.is_word(word));
    is_before || token.is_mark(",") || token.is_mark(".")
}

fn is_analyze(token: &Token<'_>) -> bool {
    token.is_word("analyze") || token.is_word("analyse")
}

fn is_off(token: &Token<'_>) -> bool {
    let value = token.text.trim_matches(['\'', '"']);
    ["false", "off", "0"]
        .iter()
        .any(|off| value.eq_ignore_ascii_case(off))
}

/// What `U&"d\0061t\+000061"` stands for.
pub(super) fn unescaped(name: &str) -> String {
    let mut pieces = name.split('\\');
    let mut unescaped = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        let (start, digits) = if piece.starts_with('+') {
            (1, 6)
        } else {
            (0, 4)
        };
        let code = piece.get(start..start + digits);
        let character = code
            .and_then(|code| u32::from_str_radix(code, 16).ok())
            .and_then(char::from_u32);
        match character {
            Some(character) => {
                unescaped.push(character);
                unescaped.push_str(&piece[start + digits..]);
            }
            None => unescaped.push_str(piece),
        }
    }
    unescaped
}
