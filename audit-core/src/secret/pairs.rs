//! Secrets that stand in a text behind their name: `?token=…`, `"password": "…"`, `Cookie: …`.

use crate::secret::name::names_secret_detail;

/// What stands where a secret was.
pub(super) const MASK: &str = "[redacted]";

/// The longest name that is looked at. What is written before is no part of it.
const LONGEST_NAME: usize = 64;

/// No shorter name says secret.
const SHORTEST_NAME: usize = 2;

/// The text without the values that stand behind a name that says secret; `None` where there is
/// none. Names stand before `=`, and before `:` where it is no sentence's: at the beginning of a
/// line (`Cookie: a=b`), in quotes (`"token":1`), or behind a bracket or a comma (`{ pin: 1 }`). Without
/// quotes a blank follows, as `token:write` is a name itself.
///
/// What was looked at is not looked at again, so that the time grows with the text's length.
pub(super) fn mask_pairs(text: &str) -> Option<String> {
    let bytes = text.as_bytes();
    let mut masked = String::new();
    // What precedes it is in `masked`.
    let mut taken = 0;
    let mut at = 0;
    while at < bytes.len() {
        let Some(pair) = Pair::at(text, at, taken) else {
            at += 1;
            continue;
        };
        let value = pair.value(bytes);
        if !value.is_empty() && &text[value.clone()] != MASK {
            masked.push_str(&text[taken..value.start]);
            masked.push_str(MASK);
            taken = value.end;
        }
        at = value.end.max(at + 1);
    }
    if taken == 0 {
        return None;
    }
    masked.push_str(&text[taken..]);
    Some(masked)
}

/// A name that says secret, and where its value begins.
struct Pair {
    begin: usize,
    /// The value goes on to the end of its line, as in a header.
    whole_line: bool,
    /// The value is followed by a blank, as in a query or a command.
    ends_at_blank: bool,
}

impl Pair {
    /// The pair whose `=` or `:` is here. Nothing before `floor` belongs to it.
    fn at(text: &str, at: usize, floor: usize) -> Option<Self> {
        let bytes = text.as_bytes();
        let sign = bytes[at];
        let next = bytes.get(at + 1).copied();
        let is_sign = match sign {
            // Not a comparison.
            b'=' => next != Some(b'=') && at.checked_sub(1).is_none_or(|i| bytes[i] != b'='),
            // Neither a path nor an address.
            b':' => next != Some(b':') && !bytes[at + 1..].starts_with(b"//"),
            _ => false,
        };
        if !is_sign {
            return None;
        }
        let name = Name::before(text, at, floor)?;
        let whole_line = sign == b':' && name.begins_line;
        let is_key = name.is_quoted || (name.begins_part && matches!(next, Some(b' ' | b'\t')));
        if (sign == b':' && !is_key) || !names_secret_detail(name.text) {
            return None;
        }
        let arrow = usize::from(sign == b'=' && next == Some(b'>'));
        let begin = after_blanks(bytes, at + 1 + arrow);
        Some(Self {
            begin,
            whole_line,
            ends_at_blank: sign == b'=' && arrow == 0,
        })
    }

    /// The value's place, without the quotes around it.
    fn value(&self, bytes: &[u8]) -> std::ops::Range<usize> {
        let begin = self.begin;
        let rest = &bytes[begin..];
        let quote = match rest {
            [b'\\', quote @ (b'"' | b'\''), ..] => Some((2, *quote, true)),
            [quote @ (b'"' | b'\'' | b'`'), ..] => Some((1, *quote, false)),
            _ => None,
        };
        if let Some((opening, quote, escaped)) = quote {
            let begin = begin + opening;
            return begin..end_of_quoted(bytes, begin, quote, escaped);
        }
        if self.whole_line {
            let is_end = |byte: &u8| matches!(byte, b'\r' | b'\n');
            return begin..begin + rest.iter().position(is_end).unwrap_or(rest.len());
        }
        begin..self.end_of_bare(bytes)
    }

    /// Where a value without quotes ends: `abc`, `Some("a, b")`, `[1, 2]`.
    fn end_of_bare(&self, bytes: &[u8]) -> usize {
        let mut depth = 0_usize;
        let mut at = self.begin;
        while at < bytes.len() {
            match bytes[at] {
                b'(' | b'[' | b'{' => depth += 1,
                b')' | b']' | b'}' if depth > 0 => depth -= 1,
                b'"' if depth > 0 => at = end_of_quoted(bytes, at + 1, b'"', false),
                b')' | b']' | b'}' | b'"' | b'\'' | b'\r' | b'\n' | b';' | b',' | b'&'
                    if depth == 0 =>
                {
                    break;
                }
                b' ' | b'\t' if depth == 0 && self.ends_at_blank => break,
                _ => {}
            }
            at += 1;
        }
        at.min(bytes.len())
    }
}

/// Where the closing quote is, or the text's end.
fn end_of_quoted(bytes: &[u8], begin: usize, quote: u8, escaped: bool) -> usize {
    let mut at = begin;
    while at < bytes.len() {
        let ends = match escaped {
            true => bytes[at] == b'\\' && bytes.get(at + 1) == Some(&quote),
            false => bytes[at] == quote,
        };
        if ends {
            return at;
        }
        // What is escaped is no end.
        at += if bytes[at] == b'\\' { 2 } else { 1 };
    }
    bytes.len()
}

/// The name before a sign.
struct Name<'a> {
    text: &'a str,
    is_quoted: bool,
    /// Whether it stands at the beginning of a line, or behind a bracket or a comma.
    begins_part: bool,
    begins_line: bool,
}

impl<'a> Name<'a> {
    fn before(text: &'a str, sign: usize, floor: usize) -> Option<Self> {
        let bytes = text.as_bytes();
        let end = before_blanks(bytes, sign, floor);
        let quoted = end > floor && matches!(bytes[end - 1], b'"' | b'\'' | b'`');
        let mut end = end - usize::from(quoted);
        if quoted && end > floor && bytes[end - 1] == b'\\' {
            end -= 1;
        }
        let floor = floor.max(end.saturating_sub(LONGEST_NAME));
        let length = bytes[floor..end].iter().rev().take_while(|b| is_name(b));
        let begin = end - length.count();
        if end - begin < SHORTEST_NAME {
            return None;
        }
        let before = before_blanks(bytes, begin, floor);
        let previous = before.checked_sub(1).map(|i| bytes[i]);
        let begins_line = !quoted && matches!(previous, None | Some(b'\n' | b'\r'));
        let is_part = previous.is_some_and(|byte| b"{[(,;&?:".contains(&byte));
        Some(Self {
            text: &text[begin..end],
            is_quoted: quoted,
            begins_part: begins_line || is_part,
            begins_line,
        })
    }
}

/// A letter of a name, as it is written in queries and forms as well: `user%5Bpassword%5D`.
fn is_name(byte: &u8) -> bool {
    byte.is_ascii_alphanumeric() || b"_-.[]%".contains(byte)
}

/// How many blanks there may be around a sign.
const BLANKS: usize = 8;

fn before_blanks(bytes: &[u8], at: usize, floor: usize) -> usize {
    let floor = floor.max(at.saturating_sub(BLANKS));
    let blanks = bytes[floor.min(at)..at].iter().rev();
    at - blanks.take_while(|b| matches!(b, b' ' | b'\t')).count()
}

fn after_blanks(bytes: &[u8], at: usize) -> usize {
    let blanks = bytes[at..].iter().take(BLANKS);
    at + blanks.take_while(|b| matches!(b, b' ' | b'\t')).count()
}

#[cfg(test)]
mod tests;
