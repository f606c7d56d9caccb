//! Secrets that stand in a text behind their name: `?token=…`, `"password": "…"`, `Cookie: …`.

use std::ops::Range;

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
/// quotes a blank follows, as `token:write` is a name itself. In a list they stand in quotes before a
/// comma: `["Cookie","a=b"]`, `[('cookie', 'a=b')]`.
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
        let value = pair.value(text);
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
    form: PairForm,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum PairForm {
    /// `Cookie: a=b; c="d"`: the value goes on to the end of its line.
    Line,
    /// `token=a&…`, `--token=a …`: the value is followed by a blank at the latest.
    Assigned,
    /// `"token": 1`, `{ token: Some("a") }`, `token => "a"`
    Field,
    /// `"token", "a"` in a list.
    Listed,
}

impl Pair {
    /// The pair whose `=`, `:` or `,` is here. Nothing before `floor` belongs to it.
    fn at(text: &str, at: usize, floor: usize) -> Option<Self> {
        let bytes = text.as_bytes();
        let sign = bytes[at];
        let next = bytes.get(at + 1).copied();
        let is_sign = match sign {
            // Not a comparison.
            b'=' => next != Some(b'=') && at.checked_sub(1).is_none_or(|i| bytes[i] != b'='),
            // Neither a path nor an address.
            b':' => next != Some(b':') && !bytes[at + 1..].starts_with(b"//"),
            b',' => true,
            _ => false,
        };
        if !is_sign {
            return None;
        }
        let name = Name::before(text, at, floor)?;
        let is_arrow = sign == b'=' && next == Some(b'>');
        let begin = match sign {
            b',' => after_spaces(bytes, at + 1),
            _ => after_blanks(bytes, at + 1 + usize::from(is_arrow)),
        };
        let form = match sign {
            b'=' if is_arrow => PairForm::Field,
            b'=' => PairForm::Assigned,
            b',' if name.is_quoted && name.begins_element && begins_element(&bytes[begin..]) => {
                PairForm::Listed
            }
            b':' if name.is_quoted => PairForm::Field,
            b':' if !name.begins_part || !matches!(next, Some(b' ' | b'\t')) => return None,
            b':' if name.begins_line => PairForm::Line,
            b':' => PairForm::Field,
            _ => return None,
        };
        names_secret_detail(name.text).then_some(Self { begin, form })
    }

    /// The value's place, without the quotes around it.
    fn value(&self, text: &str) -> Range<usize> {
        let bytes = text.as_bytes();
        match self.form {
            PairForm::Line => self.to_end_of_line(bytes),
            PairForm::Listed => self.elements(text),
            PairForm::Assigned | PairForm::Field => self.one(bytes),
        }
    }

    fn one(&self, bytes: &[u8]) -> Range<usize> {
        let Some(quote) = Quote::at(bytes, self.begin) else {
            return self.begin..self.end_of_bare(bytes, self.begin);
        };
        let value = quote.content(bytes);
        let end = quote.behind(value.end);
        // There is more of it: `"a"b`.
        let goes_on = !quote.escaped && bytes.get(end).is_some_and(u8::is_ascii_alphanumeric);
        match goes_on {
            true => value.start..self.end_of_bare(bytes, end),
            false => value,
        }
    }

    /// All of a header's value, in which quotes may be around parts: `"a"; b="c"`.
    fn to_end_of_line(&self, bytes: &[u8]) -> Range<usize> {
        let rest = &bytes[self.begin..];
        let is_end = |byte: &u8| matches!(byte, b'\r' | b'\n');
        let end = self.begin + rest.iter().position(is_end).unwrap_or(rest.len());
        let Some(quote) = Quote::at(bytes, self.begin) else {
            return self.begin..end;
        };
        let value = quote.content(bytes);
        let behind = bytes.get(quote.behind(value.end)..end).unwrap_or_default();
        // All of it is in quotes, over several lines perhaps.
        match behind.iter().all(|byte| b" \t,;".contains(byte)) {
            true => value,
            false => self.begin..end.max(value.end),
        }
    }

    /// The element behind the name, and those behind it as long as they are names as well: it
    /// cannot be told which of them belongs to which.
    fn elements(&self, text: &str) -> Range<usize> {
        let bytes = text.as_bytes();
        let mut at = self.begin;
        let mut range: Option<Range<usize>> = None;
        loop {
            let element = Self { begin: at, ..*self }.one(bytes);
            let start = range.as_ref().map_or(element.start, |it| it.start);
            let names =
                element.len() <= LONGEST_NAME && names_secret_detail(&text[element.clone()]);
            let end = element.end;
            range = Some(start..end);
            let quote = Quote::at(bytes, at);
            let comma = before_comma(bytes, quote.map_or(end, |quote| quote.behind(end)));
            match comma {
                Some(next) if names && begins_element(&bytes[next..]) => at = next,
                _ => return start..end,
            }
        }
    }

    /// Where a value without quotes ends: `abc`, `Some("a, b")`, `[1, 2]`, `a="b"; c="d"`.
    fn end_of_bare(&self, bytes: &[u8], begin: usize) -> usize {
        let mut depth = 0_usize;
        let mut at = begin;
        while at < bytes.len() {
            match bytes[at] {
                b'(' | b'[' | b'{' => depth += 1,
                b')' | b']' | b'}' if depth > 0 => depth -= 1,
                b'"' if depth > 0 || opens_quote(bytes, begin, at) => {
                    at = end_of_quoted(bytes, at + 1, b'"', false);
                }
                b';' if self.form == PairForm::Field && depth == 0 => {}
                b',' if depth == 0 && self.form == PairForm::Field && assigns(&bytes[at + 1..]) => {
                }
                b')' | b']' | b'}' | b'"' | b'\'' | b'\r' | b'\n' | b';' | b',' | b'&'
                    if depth == 0 =>
                {
                    break;
                }
                b' ' | b'\t' if depth == 0 && self.form == PairForm::Assigned => break,
                _ => {}
            }
            at += 1;
        }
        at.min(bytes.len())
    }
}

/// A quote that opens a text: `"`, `\"`, and `b"`.
#[derive(Clone, Copy)]
struct Quote {
    mark: u8,
    escaped: bool,
    /// Where its text begins.
    begin: usize,
}

impl Quote {
    fn at(bytes: &[u8], at: usize) -> Option<Self> {
        let (length, mark, escaped) = match bytes.get(at..)? {
            [b'\\', mark @ (b'"' | b'\''), ..] => (2, *mark, true),
            [mark @ (b'"' | b'\'' | b'`'), ..] => (1, *mark, false),
            [b'b' | b'u', mark @ (b'"' | b'\''), ..] => (2, *mark, false),
            _ => return None,
        };
        Some(Self {
            mark,
            escaped,
            begin: at + length,
        })
    }

    fn content(&self, bytes: &[u8]) -> Range<usize> {
        self.begin..end_of_quoted(bytes, self.begin, self.mark, self.escaped)
    }

    /// What follows the closing quote.
    fn behind(&self, end: usize) -> usize {
        end + 1 + usize::from(self.escaped)
    }
}

/// Whether an element of a list begins here that is a text or a list.
fn begins_element(bytes: &[u8]) -> bool {
    Quote::at(bytes, 0).is_some() || matches!(bytes.first(), Some(b'[' | b'('))
}

/// What follows the comma that comes next.
fn before_comma(bytes: &[u8], at: usize) -> Option<usize> {
    let comma = after_spaces(bytes, at.min(bytes.len()));
    (bytes.get(comma) == Some(&b',')).then(|| after_spaces(bytes, comma + 1))
}

/// Whether the quote here opens a part of a value, `a="b"`, and does not close a text around it,
/// as in `"token=YQ=="`.
fn opens_quote(bytes: &[u8], begin: usize, at: usize) -> bool {
    let next = bytes.get(at + 1);
    at > begin
        && bytes[at - 1] == b'='
        && next.is_some_and(|byte| !byte.is_ascii_whitespace() && !b",;:)]}&".contains(byte))
}

/// Whether another part of a value begins here: `username="a", realm="b"`.
fn assigns(bytes: &[u8]) -> bool {
    let begin = after_blanks(bytes, 0);
    let rest = &bytes[begin..];
    let length = rest.iter().take(LONGEST_NAME).take_while(|b| is_name(b));
    let length = length.count();
    length > 0 && rest.get(length) == Some(&b'=') && rest.get(length + 1) != Some(&b'>')
}

/// Where the closing quote is, or the text's end. Two quotes stand for one inside: `'it''s'`.
fn end_of_quoted(bytes: &[u8], begin: usize, quote: u8, escaped: bool) -> usize {
    let mut at = begin;
    while at < bytes.len() {
        let next = bytes.get(at + 1);
        at += match bytes[at] {
            b'\\' if escaped && next == Some(&quote) => return at,
            // What is escaped is no end.
            b'\\' => 2,
            byte if escaped || byte != quote => 1,
            _ if next == Some(&quote) => 2,
            _ => return at,
        };
    }
    bytes.len()
}

/// The name before a sign.
struct Name<'a> {
    text: &'a str,
    is_quoted: bool,
    /// Whether it stands behind a list's bracket or comma.
    begins_element: bool,
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
            begins_element: quoted && is_element(bytes, begin),
            begins_part: begins_line || is_part,
            begins_line,
        })
    }
}

/// Whether a list's bracket or comma precedes the quote of the name that begins here: `["token"`,
/// `, b'token'`.
fn is_element(bytes: &[u8], begin: usize) -> bool {
    let before = bytes[..begin]
        .strip_suffix(b"\"")
        .or_else(|| bytes[..begin].strip_suffix(b"'"));
    let Some(before) = before else { return false };
    let before = before.strip_suffix(b"\\").unwrap_or(before);
    let before = match before {
        [rest @ .., b'b' | b'u'] => rest,
        all => all,
    };
    let spaces = before.iter().rev().take(SPACES);
    let spaces = spaces.take_while(|byte| byte.is_ascii_whitespace()).count();
    matches!(
        before[..before.len() - spaces].last(),
        Some(b'[' | b'(' | b',')
    )
}

/// A letter of a name, as it is written in queries and forms as well: `user%5Bpassword%5D`.
fn is_name(byte: &u8) -> bool {
    byte.is_ascii_alphanumeric() || b"_-.[]%".contains(byte)
}

/// How many blanks there may be around a sign.
const BLANKS: usize = 8;

/// How many there may be between the elements of a list, with ends of lines among them.
const SPACES: usize = 64;

fn after_spaces(bytes: &[u8], at: usize) -> usize {
    let spaces = bytes[at..].iter().take(SPACES);
    at + spaces.take_while(|byte| byte.is_ascii_whitespace()).count()
}

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
