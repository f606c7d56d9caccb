//! The words that `#[audit(…)]` takes, and which one was probably meant.

use syn::Ident;

use crate::typing;

pub(super) const FIELD_KEYS: &[&str] = &[
    "redact", "skip", "touch", "plain", "with", "display", "debug", "rename",
];
pub(super) const STRUCT_KEYS: &[&str] = &["resource", "delivery", "embedded", "leave_out", "crate"];

pub(super) fn unknown(key: &Ident, word: &str, valid: &[&str], place: &str) -> syn::Error {
    let hint = match nearest(word) {
        Some(near) if valid.contains(&near) => format!(" (did you mean `{near}`?)"),
        _ => String::new(),
    };
    let valid = valid.join("`, `");
    let message = format!("`{word}` is unknown{hint}: `#[audit(…)]` on {place} takes `{valid}`");
    syn::Error::new(key.span(), message)
}

/// The valid word that was probably meant: a common word for the same thing, or the least typing
/// mistakes away.
fn nearest(word: &str) -> Option<&'static str> {
    match word {
        "ignore" | "exclude" | "omit" | "exempt" => return Some("skip"),
        "mask" | "secret" | "hide" | "sensitive" | "redacted" => return Some("redact"),
        "name" | "as" => return Some("rename"),
        "embed" => return Some("embedded"),
        _ => {}
    }
    typing::nearest(word, FIELD_KEYS.iter().chain(STRUCT_KEYS).copied())
}
