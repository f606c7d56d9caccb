//! Texts that look like a secret, whatever they are called.
//!
//! Every check reads the text once, from the beginning to the end: it may come from anybody, and be
//! written to take long.

use base64::Engine;
use base64::engine::general_purpose::GeneralPurpose;
use base64::engine::{DecodePaddingMode, GeneralPurposeConfig};

/// From this length on what follows the name of a scheme is no English word.
const LONG: usize = 24;

/// Up to here, digits between letters are a name: `v2`, `500GB`.
const SHORT: usize = 6;

/// How far `BEGIN` stands before `PRIVATE KEY`: `-----BEGIN RSA PRIVATE KEY-----`.
const LABEL: usize = 64;

/// How long `{"alg":…}` is as base64, at least.
const WEB_TOKEN_HEADER: usize = 12;

/// Schemes of an `Authorization` header whose credentials are one token.
const SCHEMES: &[&str] = &[
    "bearer",
    "basic",
    "token",
    "apikey",
    "negotiate",
    "ntlm",
    "dpop",
];

/// Whether there is something in the text that looks like a secret: credentials as they stand in an
/// `Authorization` header (`Bearer …`, `Basic …`), a private key as PEM, a JSON web token, or an
/// address with a password in it (`scheme://user:password@host`).
///
/// ```
/// use audit_core::looks_secret;
///
/// assert!(looks_secret("Bearer 5f2a"));
/// assert!(looks_secret("no answer from postgres://app:hunter2@db/app"));
/// assert!(!looks_secret("Basic plan"));
/// assert!(!looks_secret("https://example.org/a@b:c"));
/// ```
pub fn looks_secret(text: &str) -> bool {
    has_private_key(text) || has_web_token(text) || has_password_in_url(text) || has_scheme(text)
}

/// Whether a private key begins here: as PEM, or as PuTTY writes it.
pub(super) fn has_private_key(text: &str) -> bool {
    let of_pem = text.match_indices("PRIVATE KEY").any(|(at, _)| {
        let before = &text.as_bytes()[at.saturating_sub(LABEL)..at];
        before.windows(5).any(|window| window == b"BEGIN")
    });
    of_pem || text.contains("PuTTY-User-Key-File")
}

/// Whether there is a JSON web token: parts of base64 with dots between them, of which the first is
/// an object, `{"` being `eyJ`.
fn has_web_token(text: &str) -> bool {
    let is_no_part = |letter: char| !(letter.is_ascii_alphanumeric() || "-_.".contains(letter));
    text.split(is_no_part).any(|run| {
        run.find("eyJ").is_some_and(|at| {
            let mut parts = run[at..].split('.');
            let header = parts
                .next()
                .is_some_and(|part| part.len() >= WEB_TOKEN_HEADER);
            header && parts.count() >= 2
        })
    })
}

/// Whether there is an address with credentials in it.
fn has_password_in_url(text: &str) -> bool {
    let is_outside = |letter: char| letter.is_whitespace() || "\"'`<>".contains(letter);
    text.split(is_outside).any(|word| {
        let Some(last_at) = word.rfind('@') else {
            return false;
        };
        word.match_indices("://").any(|(at, colon)| {
            let begin = at + colon.len();
            let after = &word[begin..];
            let end = after.find(['/', '?', '#']).unwrap_or(after.len());
            holds_password(&after[..end], last_at > begin + end)
        })
    })
}

/// Whether the part of an address between `//` and the next `/` holds credentials. A password with
/// an unescaped `/` in it ends there as well, and `@` comes `later`.
fn holds_password(authority: &str, later: bool) -> bool {
    if let Some((user_info, _)) = authority.rsplit_once('@') {
        return user_info.contains(':') || (user_info.len() >= LONG && looks_random(user_info));
    }
    let port = authority.split_once(':').map(|(_, port)| port);
    let is_port = |port: &str| port.bytes().all(|byte| byte.is_ascii_digit());
    later && !authority.starts_with('[') && port.is_some_and(|port| !is_port(port))
}

/// Whether there is a scheme's name with credentials behind it.
fn has_scheme(text: &str) -> bool {
    let bytes = text.as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        let begins = at == 0 || !is_name(bytes[at - 1]);
        let scheme = SCHEMES
            .iter()
            .find(|scheme| begins && starts_with(&bytes[at..], scheme));
        match scheme {
            Some(scheme) => {
                if has_credentials(text, at, scheme) {
                    return true;
                }
                at += scheme.len();
            }
            None => at += 1,
        }
    }
    false
}

fn starts_with(bytes: &[u8], word: &str) -> bool {
    let beginning = bytes.get(..word.len());
    beginning.is_some_and(|beginning| beginning.eq_ignore_ascii_case(word.as_bytes()))
}

/// Whether credentials follow the scheme that is named here.
fn has_credentials(text: &str, at: usize, scheme: &str) -> bool {
    let (before, after) = (&text[..at], &text[at + scheme.len()..]);
    let Some(rest) = behind_separator(after) else {
        return false;
    };
    let token = beginning_of_token(rest);
    if token.len() >= LONG {
        return true;
    }
    match scheme {
        "bearer" => looks_random(token) || (!token.is_empty() && is_whole(before, rest, token)),
        // There are basic plans and basic tariffs.
        "basic" => {
            is_pair(token)
                || (token.len() >= SHORT && looks_random(token) && is_whole(before, rest, token))
        }
        _ => token.len() >= SHORT && looks_random(token),
    }
}

/// Whether there is nothing around the scheme and its token, as in a header.
fn is_whole(before: &str, rest: &str, token: &str) -> bool {
    let begins = before.trim_end_matches(' ').bytes().last();
    let ends = rest.as_bytes().get(token.len());
    begins.is_none_or(|byte| b":=\"'`([{,\n".contains(&byte))
        && ends.is_none_or(|byte| b"\"'`)]},;\r\n".contains(byte))
}

/// What follows the blanks behind a scheme's name.
fn behind_separator(after: &str) -> Option<&str> {
    if let Some(rest) = after.strip_prefix("%20") {
        return Some(rest);
    }
    let rest = after.trim_start_matches([' ', '\t', ':', '+']);
    (rest.len() < after.len()).then_some(rest)
}

/// The token that begins here; of a long one no more than says that it is.
fn beginning_of_token(rest: &str) -> &str {
    let is_token = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~+/=".contains(byte);
    let length = rest.bytes().take(LONG).take_while(is_token).count();
    &rest[..length]
}

/// Whether this is no word of a language: there are digits and letters in it, or capitals after
/// small letters.
fn looks_random(token: &str) -> bool {
    let has = |is: fn(&u8) -> bool| token.bytes().any(|byte| is(&byte));
    let mixed = token
        .as_bytes()
        .windows(2)
        .any(|pair| pair[0].is_ascii_lowercase() && pair[1].is_ascii_uppercase());
    mixed || token.ends_with('=') || (has(u8::is_ascii_digit) && has(u8::is_ascii_alphabetic))
}

/// Whether this is `user:password` as base64.
fn is_pair(token: &str) -> bool {
    let config = GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true);
    let engine = GeneralPurpose::new(&base64::alphabet::STANDARD, config);
    let decoded = engine.decode(token);
    decoded.is_ok_and(|decoded| decoded.contains(&b':') && str::from_utf8(&decoded).is_ok())
}

fn is_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

#[cfg(test)]
mod tests;
