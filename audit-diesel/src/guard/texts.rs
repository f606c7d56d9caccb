//! What a text in SQL says: each way to quote one has its own way to write what cannot stand in it.

use super::targets::unescaped;
use super::tokens::Token;

/// What the text at this place says.
pub(super) fn text_at(tokens: &[Token<'_>], at: usize) -> String {
    let text = tokens[at].text;
    match text.as_bytes() {
        [b'$', ..] => dollar_quoted(text).to_owned(),
        [b'e' | b'E', ..] => escaped(&quoted(&text[1..])),
        _ if is_unicode(tokens, at) => unescaped(&quoted(text)),
        _ => quoted(text),
    }
}

fn dollar_quoted(text: &str) -> &str {
    let tag = text[1..].find('$').map_or(0, |end| end + 2);
    text.get(tag..text.len() - tag).unwrap_or_default()
}

fn quoted(text: &str) -> String {
    let inside = text.strip_prefix('\'').unwrap_or(text);
    let inside = inside.strip_suffix('\'').unwrap_or(inside);
    inside.replace("''", "'")
}

/// `U&'…'`
fn is_unicode(tokens: &[Token<'_>], at: usize) -> bool {
    let before = at.checked_sub(2).and_then(|from| tokens.get(from..at));
    matches!(before, Some([u, and]) if u.is_word("u") && and.is_mark("&")) && tokens[at].is_close()
}

/// What `'\x55PDATE\n\'\''` stands for behind an `E`.
fn escaped(text: &str) -> String {
    let mut said = String::new();
    let mut rest = text;
    while let Some((before, behind)) = rest.split_once('\\') {
        said.push_str(before);
        let (character, length) = character(behind);
        said.extend(character);
        rest = &behind[length..];
    }
    said.push_str(rest);
    said
}

/// What a backslash and this stand for, and how long it is.
fn character(behind: &str) -> (Option<char>, usize) {
    let Some(first) = behind.chars().next() else {
        return (None, 0);
    };
    let (start, radix, most) = match first {
        'b' | 'f' | 'n' | 'r' | 't' => return (Some(' '), 1),
        'x' => (1, 16, 2),
        'u' => (1, 16, 4),
        'U' => (1, 16, 8),
        '0'..='7' => (0, 8, 3),
        other => return (Some(other), other.len_utf8()),
    };
    let digits = behind[start..].chars().take(most);
    let length = digits.take_while(|it| it.is_digit(radix)).count();
    let code = u32::from_str_radix(&behind[start..start + length], radix).ok();
    (code.and_then(char::from_u32), start + length)
}
