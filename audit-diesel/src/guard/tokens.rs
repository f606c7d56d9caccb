//! Cuts a statement into tokens, and shows it without what its literals say.

use crate::dialect::Dialect;
use crate::sql::after_token;

/// What kind of token it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// A keyword, or a name without quotes.
    Word,
    /// A name in quotes.
    Quoted,
    /// A string.
    Text,
    /// A number.
    Number,
    /// A parameter, an operator, a bracket.
    Mark,
}

/// A token, which is no comment.
#[derive(Debug, Clone, Copy)]
pub(super) struct Token<'a> {
    pub(super) kind: Kind,
    pub(super) text: &'a str,
    /// Whether white space or a comment stands in front of it.
    is_apart: bool,
}

impl Token<'_> {
    pub(super) fn is_word(&self, word: &str) -> bool {
        self.kind == Kind::Word && self.text.eq_ignore_ascii_case(word)
    }

    pub(super) fn is_mark(&self, mark: &str) -> bool {
        self.kind == Kind::Mark && self.text == mark
    }

    /// Whether it follows the token before it without white space.
    pub(super) fn is_close(&self) -> bool {
        !self.is_apart
    }

    /// What it names, if it can name something.
    pub(super) fn name(&self, dialect: Dialect) -> Option<String> {
        let inside = |quote: char| {
            let inside = self.text.get(1..self.text.len() - 1)?;
            Some(inside.replace(&format!("{quote}{quote}"), &quote.to_string()))
        };
        match (self.kind, self.text.as_bytes().first()?) {
            (Kind::Word, _) => Some(self.text.to_owned()),
            (Kind::Quoted, b'[') => inside(']'),
            (Kind::Quoted, b'`') => inside('`'),
            (Kind::Quoted, _) => inside('"'),
            // SQLite takes a string where only a name can stand.
            (Kind::Text, b'\'') if dialect == Dialect::Sqlite => inside('\''),
            _ => None,
        }
    }
}

/// The tokens of a statement.
pub(super) fn tokens(statement: &str, dialect: Dialect) -> Vec<Token<'_>> {
    let bytes = statement.as_bytes();
    let mut tokens = Vec::new();
    let (mut at, mut is_apart) = (0, false);
    while at < bytes.len() {
        let end = token_end(statement, at, dialect);
        match kind(&statement[at..end]) {
            Some(kind) => {
                tokens.push(Token {
                    kind,
                    text: &statement[at..end],
                    is_apart,
                });
                is_apart = false;
            }
            None => is_apart = true,
        }
        at = end;
    }
    tokens
}

fn token_end(statement: &str, at: usize, dialect: Dialect) -> usize {
    let rest = &statement[at..];
    match rest.as_bytes()[0] {
        // SQLite's third way to quote a name; elsewhere it is an array's.
        b'[' if dialect == Dialect::Sqlite => at + rest.find(']').map_or(rest.len(), |end| end + 1),
        b'$' | b'?' => match rest[1..].bytes().take_while(u8::is_ascii_digit).count() {
            0 => after_token(statement, at),
            digits => at + 1 + digits,
        },
        _ => after_token(statement, at),
    }
}

/// None for white space and comments.
fn kind(token: &str) -> Option<Kind> {
    Some(match token.as_bytes()[0] {
        // The vertical tab is white space for SQL, and not for Rust.
        b'\x0b' => return None,
        byte if byte.is_ascii_whitespace() => return None,
        b'-' if token.starts_with("--") => return None,
        b'/' if token.starts_with("/*") => return None,
        b'\'' => Kind::Text,
        b'e' | b'E' if token[1..].starts_with('\'') => Kind::Text,
        b'$' if token.len() > 1 && !token.as_bytes()[1].is_ascii_digit() => Kind::Text,
        b'"' | b'`' => Kind::Quoted,
        b'[' if token.len() > 1 => Kind::Quoted,
        b'0'..=b'9' => Kind::Number,
        byte if byte.is_ascii_alphabetic() || byte == b'_' || byte >= 0x80 => Kind::Word,
        _ => Kind::Mark,
    })
}

/// More says no more about which statement it is.
const MAX_CHARACTERS: usize = 400;

/// The statement for a message: without comments, and with `?` for each literal, as these may be
/// secrets. What SQLite would take for a string in double quotes is a literal too, unless it `is_known`
/// to be a name.
pub(super) fn without_literals(
    statement: &str,
    dialect: Dialect,
    is_known: impl Fn(&str) -> bool,
) -> String {
    let mut shown = String::new();
    for token in tokens(statement, dialect) {
        if shown.len() > MAX_CHARACTERS {
            return shown + " …";
        }
        if token.is_apart && !shown.is_empty() {
            shown.push(' ');
        }
        let is_name = || token.name(dialect).is_some_and(|name| is_known(&name));
        let may_be_literal = match token.kind {
            Kind::Number => true,
            Kind::Text => !is_name(),
            Kind::Quoted => dialect == Dialect::Sqlite && token.text.starts_with('"') && !is_name(),
            Kind::Word | Kind::Mark => false,
        };
        shown.push_str(if may_be_literal { "?" } else { token.text });
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(statement: &str, dialect: Dialect) -> String {
        without_literals(statement, dialect, |name| name == "users")
    }

    #[test]
    fn a_statement_is_shown_without_comments_and_literals() {
        for (statement, expected) in [
            (
                "UPDATE users SET a = 's3cret', b = E'x\\'y', c = $$z$$ -- s3cret",
                "UPDATE users SET a = ?, b = ?, c = ?",
            ),
            (
                "UPDATE users\n  SET pin=1234, rate = 1.5, at = $1 WHERE id IN (7,8)",
                "UPDATE users SET pin=?, rate = ?.?, at = $1 WHERE id IN (?,?)",
            ),
            (
                "INSERT INTO \"users\" /* s3cret */ VALUES (x'00', U&'s', 'it''s')",
                "INSERT INTO \"users\" VALUES (x?, U&?, ?)",
            ),
            ("DO $x$ BEGIN UPDATE users SET a = 's'; END $x$", "DO ?"),
            ("UPDATE users SET a = 'not closed", "UPDATE users SET a = ?"),
            ("UPDATE users SET a1 = ?1", "UPDATE users SET a1 = ?1"),
        ] {
            assert_eq!(shown(statement, Dialect::Postgres), expected);
        }
        assert_eq!(
            shown(
                "UPDATE \"users\" SET [a] = \"s3cret\", `b` = 's'",
                Dialect::Sqlite
            ),
            "UPDATE \"users\" SET [a] = ?, `b` = ?"
        );
        assert_eq!(
            shown("DELETE FROM 'users'", Dialect::Sqlite),
            "DELETE FROM 'users'"
        );
        let long = format!("DELETE FROM users WHERE id IN ({})", "1, ".repeat(2_000));
        assert!(shown(&long, Dialect::Postgres).len() < 420);
    }

    #[test]
    fn any_text_can_be_cut() {
        for text in [
            "", "'", "\"", "`", "[", "$", "$$", "$a$", "e'", "E'\\", "é'", "--", "/*", "?", "1",
            "e",
        ] {
            for dialect in [Dialect::Postgres, Dialect::Sqlite] {
                for token in tokens(text, dialect) {
                    token.name(dialect);
                }
                shown(text, dialect);
            }
        }
    }
}
