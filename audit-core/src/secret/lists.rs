//! The forms in which frameworks, drivers and logs give a list of headers, of parameters or of
//! fields: which part is a name, and which the value that belongs to it.

use std::borrow::Cow;

use serde_json::{Map, Value};

use crate::secret::name::names_one_of;

/// A longer text is not taken for a name.
const LONGEST_NAME: usize = 256;

/// What holds the name in an object that has it beside its value: `{"name": "Cookie", …}`.
const LABELS: &[&str] = &[
    "name",
    "names",
    "key",
    "keys",
    "header",
    "headers",
    "field",
    "fields",
    "param",
    "params",
    "parameter",
    "attribute",
    "column",
    "columns",
    "k",
    "n",
    "0",
];

/// What holds the value there.
const CONTENTS: &[&str] = &[
    "value", "values", "val", "v", "content", "data", "rows", "old", "new", "before", "after", "1",
];

/// A list of this is one of names without their values: `"fields": ["password", "email"]`.
const OF_NAMES: &[&str] = &[
    "field",
    "column",
    "attribute",
    "property",
    "properties",
    "name",
    "key",
    "parameter",
    "param",
    "changed",
    "missing",
    "required",
    "scope",
    "permission",
    "role",
    "tag",
    "label",
    "type",
    "kind",
    "method",
    "factor",
    "amr",
    "provider",
    "event",
    "action",
    "error",
    "warning",
    "reason",
    "code",
    "feature",
    "table",
];

/// What a value in a list may name, where its place alone does not say that it is a name: no
/// sentence, and no value of several parts.
pub(super) fn name_in(value: &Value) -> Option<Cow<'_, str>> {
    label_in(value).filter(|text| is_name(text))
}

/// What a value names whose place says that it is a name: a text, or the bytes of one.
pub(super) fn label_in(value: &Value) -> Option<Cow<'_, str>> {
    match value {
        Value::String(text) => Some(Cow::Borrowed(text.as_str())),
        Value::Array(bytes) => text_of_bytes(bytes).map(Cow::Owned),
        _ => None,
    }
    .filter(|text| text.len() <= LONGEST_NAME)
}

fn text_of_bytes(bytes: &[Value]) -> Option<String> {
    if bytes.is_empty() || bytes.len() > LONGEST_NAME {
        return None;
    }
    let byte = |value: &Value| u8::try_from(value.as_u64()?).ok();
    String::from_utf8(bytes.iter().map(byte).collect::<Option<_>>()?).ok()
}

/// A sign at the end sets it off from its value: `Cookie:`.
fn is_name(text: &str) -> bool {
    let name = text.trim().trim_end_matches([':', '=']);
    !name.is_empty()
        && !name.contains(|letter: char| letter.is_whitespace() || ":=,;&?\"'".contains(letter))
}

/// Whether a list under this key has names only: then nothing in it is a value.
pub(super) fn is_list_of_names(key: &str, values: &[Value]) -> bool {
    let is_word = |value: &Value| {
        let is_letter = |byte: u8| byte.is_ascii_alphanumeric() || b"_.".contains(&byte);
        value
            .as_str()
            .is_some_and(|text| text.bytes().all(is_letter))
    };
    names_one_of(key, OF_NAMES) && !names_one_of(key, &["header"]) && values.iter().all(is_word)
}

/// Which of an object's values belong to a name that stands beside them.
pub(super) struct Labelled {
    /// `{"name": "Cookie", "value": …}`
    one: bool,
    /// `{"names": ["Cookie", …], "values": […]}`
    many: bool,
}

impl Labelled {
    pub(super) fn of(object: &Map<String, Value>, says_secret: impl Fn(&str) -> bool) -> Self {
        let says_secret = |value: &Value| label_in(value).is_some_and(|name| says_secret(&name));
        let mut found = Self {
            one: false,
            many: false,
        };
        for (_, label) in object.iter().filter(|(key, _)| is_part(key, LABELS)) {
            found.one |= says_secret(label);
            let names = label.as_array().map_or(&[][..], Vec::as_slice);
            found.many |= names.iter().any(says_secret);
        }
        found
    }

    pub(super) fn covers(&self, key: &str, value: &Value) -> bool {
        (self.one || (self.many && value.is_array())) && is_part(key, CONTENTS)
    }
}

/// Whether a key is one of these, or ends in one: `headerName`, `raw_value`.
fn is_part(key: &str, words: &[&str]) -> bool {
    let is_cut =
        |(at, letter): (usize, char)| (letter.is_uppercase() || letter == '_').then_some(at);
    let last = key.char_indices().rev().find_map(is_cut).unwrap_or(0);
    let last = key[last..].trim_start_matches('_');
    let is = |key: &str| words.iter().any(|word| key.eq_ignore_ascii_case(word));
    is(key) || is(last)
}
