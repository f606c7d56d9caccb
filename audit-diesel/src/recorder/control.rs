//! Reads from SQL text what a query does to the transaction, whoever sent it: Diesel's transaction
//! manager, `batch_execute`, or `sql_query`.

use std::fmt::{self, Write};

use diesel::connection::DebugQuery;

/// A transaction control statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Control {
    Begin,
    Commit {
        chain: bool,
    },
    Rollback {
        chain: bool,
    },
    /// `PREPARE TRANSACTION`: the transaction's end is decided elsewhere.
    Prepare,
    Savepoint(String),
    Release(String),
    RollbackTo(String),
    /// Any other statement beside control statements in one batch.
    Other,
}

/// Appends what the query controls; nothing for a query that controls nothing. `only_first` is for
/// a database that ignores what follows the first statement of a prepared text.
pub(super) fn read(query: &dyn DebugQuery, only_first: bool, controls: &mut Vec<Control>) {
    let mut sink = FirstPiece {
        controls,
        only_first,
        pieces: 0,
    };
    // Diesel writes the SQL as one piece, then the binds, which may hold secrets: the sink takes
    // the first piece and refuses the rest. An empty changeset cannot be written at all.
    let _ = write!(sink, "{query}");
}

struct FirstPiece<'a> {
    controls: &'a mut Vec<Control>,
    only_first: bool,
    pieces: usize,
}

impl Write for FirstPiece<'_> {
    fn write_str(&mut self, sql: &str) -> fmt::Result {
        self.pieces += 1;
        if self.pieces == 1 {
            read_sql(sql, self.controls);
            return Ok(());
        }
        // Only a prepared query has a second piece.
        if self.only_first {
            self.controls.truncate(1);
        }
        Err(fmt::Error)
    }
}

fn read_sql(sql: &str, controls: &mut Vec<Control>) {
    let mut inside_body = false;
    for statement in Statements::new(sql) {
        let mut words = Words::new(statement);
        let Some(first) = words.next() else { continue };
        if inside_body {
            // `CREATE TRIGGER … BEGIN …; END` holds statements that do not run now.
            inside_body = !first.eq_ignore_ascii_case("end");
            continue;
        }
        inside_body = first.eq_ignore_ascii_case("create") && opens_body(statement);
        controls.push(control(first, words).unwrap_or(Control::Other));
    }
    if controls.iter().all(|control| *control == Control::Other) {
        controls.clear();
    }
}

fn control(first: &str, mut words: Words<'_>) -> Option<Control> {
    let is = |word: &str| first.eq_ignore_ascii_case(word);
    if is("begin") {
        return Some(Control::Begin);
    }
    if is("start") {
        return next_is(&mut words, "transaction").then_some(Control::Begin);
    }
    if is("commit") || is("end") {
        return commit(words);
    }
    if is("rollback") || is("abort") {
        return Some(rollback(words));
    }
    if is("savepoint") {
        return words
            .next()
            .map(|name| Control::Savepoint(identifier(name)));
    }
    if is("release") {
        return savepoint_name(words).map(Control::Release);
    }
    if is("prepare") {
        return next_is(&mut words, "transaction").then_some(Control::Prepare);
    }
    None
}

fn commit(mut words: Words<'_>) -> Option<Control> {
    match words.next() {
        // `COMMIT PREPARED 'x'` ends another transaction than this one.
        Some(word) if word.eq_ignore_ascii_case("prepared") => None,
        Some(word) => Some(Control::Commit {
            chain: chains(word, words),
        }),
        None => Some(Control::Commit { chain: false }),
    }
}

fn rollback(mut words: Words<'_>) -> Control {
    while let Some(word) = words.next() {
        if word.eq_ignore_ascii_case("to") {
            return savepoint_name(words).map_or(Control::Other, Control::RollbackTo);
        }
        if word.eq_ignore_ascii_case("prepared") {
            return Control::Other;
        }
        if word.eq_ignore_ascii_case("and") {
            return Control::Rollback {
                chain: chains(word, words),
            };
        }
    }
    Control::Rollback { chain: false }
}

/// `AND CHAIN`, `WORK AND CHAIN`, but not `AND NO CHAIN`.
fn chains(first: &str, rest: Words<'_>) -> bool {
    let mut after_and = false;
    for word in std::iter::once(first).chain(rest) {
        if after_and {
            return word.eq_ignore_ascii_case("chain");
        }
        after_and = word.eq_ignore_ascii_case("and");
    }
    false
}

fn savepoint_name(mut words: Words<'_>) -> Option<String> {
    let word = words.next()?;
    if word.eq_ignore_ascii_case("savepoint") {
        return words.next().map(identifier);
    }
    Some(identifier(word))
}

fn next_is(words: &mut Words<'_>, expected: &str) -> bool {
    words
        .next()
        .is_some_and(|word| word.eq_ignore_ascii_case(expected))
}

fn opens_body(statement: &str) -> bool {
    let mut words = Words::new(statement);
    words.any(|word| {
        ["trigger", "function", "procedure"]
            .iter()
            .any(|kind| word.eq_ignore_ascii_case(kind))
    }) && words.any(|word| word.eq_ignore_ascii_case("begin"))
}

/// A savepoint's name as the database compares it: folded to lower case unless quoted.
fn identifier(word: &str) -> String {
    for quote in ['"', '`', '\''] {
        let quoted = word.strip_prefix(quote).and_then(|w| w.strip_suffix(quote));
        if let Some(quoted) = quoted {
            return quoted.replace(&format!("{quote}{quote}"), &quote.to_string());
        }
    }
    word.to_ascii_lowercase()
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
struct Words<'a> {
    rest: &'a str,
}

impl<'a> Words<'a> {
    fn new(statement: &'a str) -> Self {
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
fn after_token(sql: &str, at: usize) -> usize {
    let bytes = sql.as_bytes();
    let rest = &sql[at..];
    match bytes[at] {
        quote @ (b'\'' | b'"' | b'`') => after_quoted(bytes, at, quote),
        b'-' if rest.starts_with("--") => rest.find('\n').map_or(bytes.len(), |n| at + n + 1),
        b'/' if rest.starts_with("/*") => after_comment(bytes, at),
        b'$' => after_dollar_quoted(rest).map_or(at + 1, |length| at + length),
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

fn after_quoted(bytes: &[u8], at: usize, quote: u8) -> usize {
    // In an E'' string a backslash hides the quote that follows.
    let escapes = quote == b'\'' && at > 0 && matches!(bytes[at - 1], b'e' | b'E');
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

/// PostgreSQL's comments nest.
fn after_comment(bytes: &[u8], at: usize) -> usize {
    let mut depth = 0;
    let mut next = at;
    while next + 1 < bytes.len() {
        match &bytes[next..next + 2] {
            b"/*" => {
                depth += 1;
                next += 2;
            }
            b"*/" => {
                depth -= 1;
                next += 2;
                if depth == 0 {
                    return next;
                }
            }
            _ => next += 1,
        }
    }
    bytes.len()
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

#[cfg(test)]
mod tests {
    use super::*;

    fn controls(sql: &str) -> Vec<Control> {
        let mut controls = Vec::new();
        read_sql(sql, &mut controls);
        controls
    }

    fn name(text: &str) -> String {
        text.to_owned()
    }

    #[test]
    fn transaction_control_is_read_however_it_is_written() {
        use Control::{Begin, Commit, Prepare, Release, Rollback, RollbackTo, Savepoint};
        let commit = Commit { chain: false };
        let rollback = Rollback { chain: false };
        for (sql, expected) in [
            ("BEGIN", Begin),
            ("BEGIN TRANSACTION ISOLATION LEVEL SERIALIZABLE", Begin),
            ("begin immediate", Begin),
            (" /* why */ -- how\n start  transaction", Begin),
            ("COMMIT", commit.clone()),
            ("End;", commit.clone()),
            ("COMMIT AND NO CHAIN", commit),
            ("COMMIT WORK AND CHAIN", Commit { chain: true }),
            ("ROLLBACK", rollback.clone()),
            ("abort work", rollback),
            ("ROLLBACK AND CHAIN", Rollback { chain: true }),
            ("PREPARE TRANSACTION 'x'", Prepare),
            (
                "SAVEPOINT diesel_savepoint_1",
                Savepoint(name("diesel_savepoint_1")),
            ),
            ("savepoint \"My\"\"Point\"", Savepoint(name("My\"Point"))),
            ("SAVEPOINT `a b`", Savepoint(name("a b"))),
            ("SAVEPOINT 'it''s'", Savepoint(name("it's"))),
            ("SAVEPOINT [Sp]", Savepoint(name("sp"))),
            ("RELEASE SAVEPOINT Sp", Release(name("sp"))),
            ("release sp", Release(name("sp"))),
            ("ROLLBACK TO SAVEPOINT sp", RollbackTo(name("sp"))),
            ("rollback transaction to sp", RollbackTo(name("sp"))),
            ("COMMIT -- binds: []", Commit { chain: false }),
        ] {
            assert_eq!(controls(sql), [expected], "{sql}");
        }
    }

    #[test]
    fn a_batch_is_read_statement_by_statement() {
        use Control::{Begin, Commit, Other};
        assert_eq!(controls("SET x = 1; BEGIN"), [Other, Begin]);
        assert_eq!(
            controls("BEGIN; UPDATE t SET a = ';COMMIT;'; COMMIT;"),
            [Begin, Other, Commit { chain: false }]
        );
    }

    #[test]
    fn what_controls_nothing_is_not_taken_for_control() {
        for sql in [
            "SELECT 'COMMIT'",
            "UPDATE t SET a = 'x; ROLLBACK'",
            "SELECT E'a\\'; COMMIT; --'",
            "SELECT $1; SELECT $2",
            "DO $$ BEGIN PERFORM 1; COMMIT; END $$",
            "DO $body$ BEGIN; $$; COMMIT; END $body$",
            "CREATE TRIGGER t AFTER INSERT ON a BEGIN UPDATE b SET c = 1; END;",
            "CREATE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT 1; SELECT 2; END",
            "/* BEGIN; /* nested */ COMMIT; */ SELECT 1",
            "COMMIT PREPARED 'x'",
            "PREPARE plan AS SELECT 1",
            "SELECT \"commit\" FROM begin_table",
            "",
            ";;",
            "'unterminated; COMMIT",
        ] {
            assert_eq!(controls(sql), [], "{sql}");
        }
    }

    #[test]
    fn any_text_is_read_without_panicking() {
        for sql in [
            "é; COMMIT é",
            "$é$",
            "E'\\",
            "/*",
            "$",
            "--",
            "\"",
            "a$b$; COMMIT",
        ] {
            let _ = controls(sql);
        }
    }
}
