//! Reads SQL text: from a query, and into statements and words, without understanding them.

use std::borrow::Cow;
use std::fmt::{self, Write};

use diesel::connection::DebugQuery;

/// Shows a query's SQL to `visit`, and says whether the query is a prepared one.
///
/// Diesel writes the SQL as one piece, then the binds of a prepared query, which may hold secrets:
/// the first piece is taken and the rest refused. An empty changeset cannot be written at all.
pub(crate) fn read(query: &dyn DebugQuery, visit: impl FnMut(&str)) -> bool {
    let mut pieces = Pieces { visit, count: 0 };
    let _ = write!(pieces, "{query}");
    pieces.count > 1
}

struct Pieces<V> {
    visit: V,
    count: usize,
}

impl<V: FnMut(&str)> Write for Pieces<V> {
    fn write_str(&mut self, piece: &str) -> fmt::Result {
        self.count += 1;
        if self.count > 1 {
            return Err(fmt::Error);
        }
        (self.visit)(piece);
        Ok(())
    }
}

/// A text in which a carriage return ends no comment, as SQLite reads it. Elsewhere it is white space.
pub(crate) fn without_returns(sql: &str) -> Cow<'_, str> {
    match sql.contains('\r') {
        true => Cow::Owned(sql.replace('\r', " ")),
        false => Cow::Borrowed(sql),
    }
}

/// The statements of a text that run when the text does: those in the body of a trigger or a
/// function that is being created do not.
pub(crate) fn statements_that_run(sql: &str) -> impl Iterator<Item = &str> {
    let mut inside_body = false;
    Statements::new(sql).filter(move |statement| {
        let Some(first) = Words::new(statement).next() else {
            return false;
        };
        if inside_body {
            inside_body = !first.eq_ignore_ascii_case("end");
            return false;
        }
        inside_body = first.eq_ignore_ascii_case("create") && opens_body(statement);
        true
    })
}

/// `CREATE TRIGGER … BEGIN …; END` holds statements that do not run now.
fn opens_body(statement: &str) -> bool {
    let mut words = Words::new(statement);
    words.any(|word| {
        ["trigger", "function", "procedure"]
            .iter()
            .any(|kind| word.eq_ignore_ascii_case(kind))
    }) && words.any(|word| word.eq_ignore_ascii_case("begin"))
}

/// The statements of a text, split at `;` outside of quotes, comments and dollar quotes.
struct Statements<'a> {
    rest: &'a str,
}

impl<'a> Statements<'a> {
    fn new(sql: &'a str) -> Self {
        Self { rest: sql }
    }
}

impl<'a> Iterator for Statements<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        if self.rest.is_empty() {
            return None;
        }
        let bytes = self.rest.as_bytes();
        let mut at = 0;
        while at < bytes.len() && bytes[at] != b';' {
            at = after_token(self.rest, at);
        }
        let statement = &self.rest[..at.min(bytes.len())];
        self.rest = self.rest.get(at + 1..).unwrap_or("");
        Some(statement)
    }
}

/// The words of a statement: what stands between white space, comments and punctuation.
pub(crate) struct Words<'a> {
    rest: &'a str,
}

impl<'a> Words<'a> {
    pub(crate) fn new(statement: &'a str) -> Self {
        Self { rest: statement }
    }
}

impl<'a> Iterator for Words<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        loop {
            let bytes = self.rest.as_bytes();
            let first = *bytes.first()?;
            let end = after_token(self.rest, 0);
            let (token, rest) = (&self.rest[..end], &self.rest[end..]);
            self.rest = rest;
            // SQLite takes a name in any of these quotes.
            if is_word_byte(first) || matches!(first, b'"' | b'`' | b'\'') {
                return Some(token);
            }
        }
    }
}

fn is_word_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte >= 0x80
}

/// Where the token that starts at `at` ends: a quoted text, a comment, a word, or one character.
pub(crate) fn after_token(sql: &str, at: usize) -> usize {
    let bytes = sql.as_bytes();
    let rest = &sql[at..];
    match bytes[at] {
        quote @ (b'\'' | b'"' | b'`') => after_quoted(bytes, at, quote, false),
        b'-' if rest.starts_with("--") => {
            rest.find(['\n', '\r']).map_or(bytes.len(), |n| at + n + 1)
        }
        b'/' if rest.starts_with("/*") => after_comment(bytes, at),
        b'$' => after_dollar_quoted(rest).map_or(at + 1, |length| at + length),
        b'e' | b'E' if rest[1..].starts_with('\'') => after_quoted(bytes, at + 1, b'\'', true),
        byte if is_word_byte(byte) => {
            let length = rest
                .bytes()
                // A dollar sign inside a word is part of it and opens no quote.
                .position(|b| !is_word_byte(b) && b != b'$')
                .unwrap_or(rest.len());
            at + length
        }
        _ => at + 1,
    }
}

/// `escapes`: in an E'' string a backslash hides the quote that follows.
fn after_quoted(bytes: &[u8], at: usize, quote: u8, escapes: bool) -> usize {
    let mut next = at + 1;
    while next < bytes.len() {
        if escapes && bytes[next] == b'\\' {
            next += 2;
        } else if bytes[next] != quote {
            next += 1;
        } else if bytes.get(next + 1) == Some(&quote) {
            next += 2;
        } else {
            return next + 1;
        }
    }
    bytes.len()
}

/// PostgreSQL's comments nest, and one that is not closed so is an error there. SQLite's end where
/// they are closed first.
fn after_comment(bytes: &[u8], at: usize) -> usize {
    let mut depth = 0;
    let mut next = at;
    let mut closed_first = None;
    while next + 1 < bytes.len() {
        match &bytes[next..next + 2] {
            b"/*" => {
                depth += 1;
                next += 2;
            }
            b"*/" => {
                depth -= 1;
                next += 2;
                closed_first.get_or_insert(next);
                if depth == 0 {
                    return next;
                }
            }
            _ => next += 1,
        }
    }
    closed_first.unwrap_or(bytes.len())
}

/// The length of `$tag$ … $tag$`, or `None` where the dollar sign opens no quote (`$1`).
fn after_dollar_quoted(rest: &str) -> Option<usize> {
    let tag_length = rest[1..].find('$')? + 2;
    let tag = &rest[..tag_length];
    let name = &tag[1..tag_length - 1];
    let starts_well = name.bytes().next().is_none_or(|b| !b.is_ascii_digit());
    if !starts_well || !name.bytes().all(is_word_byte) {
        return None;
    }
    let end = rest[tag_length..].find(tag)?;
    Some(tag_length + end + tag_length)
}
