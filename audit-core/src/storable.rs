//! Makes what comes from outside storable: no text, key, number or depth that somebody sends is a
//! reason for a record not to be in the trail.
//!
//! PostgreSQL's `text` and `jsonb` hold no U+0000, `jsonb` no lone surrogate and no number of a
//! hundred thousand digits, an index no text of some thousand bytes, and whoever reads JSON stops at
//! some depth. Each is written in another form, from which it can be told what it was:
//!
//! * U+0000 is `␀0`, a lone surrogate such as U+D800 is `␀ud800`, and `␀` (U+2400) itself is `␀␀`;
//! * a text that is too long is its beginning, `…#`, and a digest of all of it;
//! * what is nested too deep is `{"too_deep":true}`, and a number that is too long or too large is
//!   `{"number":"1e400000"}`.

use std::borrow::Cow;
use std::io::{self, Write};

use serde_json::{Map, Value, json};
use uuid::Uuid;
use uuid::fmt::Simple;

/// The bound of an id or another text of a context, in bytes. With a kind beside it, it fits into an
/// entry of an index, which has 2,700 bytes.
const ID_BYTES: usize = 1 << 10;

/// The bound of an action, a resource's type, an actor's kind or a source, in bytes.
const KIND_BYTES: usize = 1 << 8;

/// The bound of a text in the free details, in bytes.
const DETAIL_BYTES: usize = 64 << 10;

/// The bound of a key in the free details, in bytes.
const KEY_BYTES: usize = 1 << 8;

/// The bound of all free details of one context or event, in bytes.
pub(crate) const EXTRA_BYTES: usize = 256 << 10;

/// How deep JSON may be nested. Those who read it stop at 128, and it stands in an object.
const MAX_DEPTH: usize = 64;

/// How many digits a number may have, before and after its point: `jsonb` takes 16,383 after it.
const MAX_DIGITS: usize = 16_000;

/// Stands in front of what is written in another form.
const ESCAPE: char = '␀';

/// The same in UTF-8.
const ESCAPE_BYTES: &[u8] = "␀".as_bytes();

/// What it begins with, as do some more letters.
const FIRST_OF_ESCAPE: u8 = ESCAPE_BYTES[0];

/// Namespace of the digests: any UUID that is used for nothing else.
const DIGEST: Uuid = Uuid::from_u128(0x5d7c_11e4_0a53_4f6e_8b1f_93c0_6d52_e8a4);

/// An id, or another text of a context, as it stands in a record. It is the text itself, unless that
/// has U+0000 or U+2400 in it, or more than 1,024 bytes; look for this form then.
///
/// ```
/// use audit_core::recorded_id;
///
/// assert_eq!(recorded_id("ada"), "ada");
/// assert_eq!(recorded_id("a\0b"), "a␀0b");
/// assert!(recorded_id(&"a".repeat(25_000)).len() < 1_100);
/// ```
pub fn recorded_id(text: &str) -> Cow<'_, str> {
    bounded(text, ID_BYTES)
}

/// An action, a resource's type, an actor's kind or a source as it stands in a record; as
/// [`recorded_id`], with at most 256 bytes.
pub fn recorded_kind(text: &str) -> Cow<'_, str> {
    bounded(text, KIND_BYTES)
}

/// Whether this is what [`recorded_id`] makes of it.
pub(crate) fn is_recorded_id(text: &str) -> bool {
    matches!(recorded_id(text), Cow::Borrowed(_))
}

/// Whether this is what [`recorded_kind`] makes of it.
pub(crate) fn is_recorded_kind(text: &str) -> bool {
    matches!(recorded_kind(text), Cow::Borrowed(_))
}

/// Bounded by fewer bytes than usual, where a record has to become small.
pub(crate) fn short(text: &str) -> String {
    bounded(text, 32).into_owned()
}

/// How much longer than its bound a text is that was cut: `…#` and a digest.
const CUT_BYTES: usize = "…#".len() + Simple::LENGTH;

/// What is cut is longer than what is not, so that one is never taken for the other.
fn bounded(text: &str, max_bytes: usize) -> Cow<'_, str> {
    let escaped = escaped(text);
    if escaped.len() <= max_bytes {
        return escaped;
    }
    let digest = digest(text.as_bytes());
    let mut end = max_bytes;
    while !escaped.is_char_boundary(end) {
        end -= 1;
    }
    Cow::Owned(format!("{}…#{digest}", &escaped[..end]))
}

/// A digest of what is left out.
pub(crate) fn digest(bytes: &[u8]) -> Simple {
    Uuid::new_v5(&DIGEST, bytes).simple()
}

fn escaped(text: &str) -> Cow<'_, str> {
    if !text.as_bytes().contains(&0) && !has_escape(text.as_bytes()) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    for letter in text.chars() {
        match letter {
            '\0' => out.extend([ESCAPE, '0']),
            ESCAPE => out.extend([ESCAPE, ESCAPE]),
            other => out.push(other),
        }
    }
    Cow::Owned(out)
}

/// Looks for one byte first, which is faster.
fn has_escape(bytes: &[u8]) -> bool {
    bytes.contains(&FIRST_OF_ESCAPE)
        && bytes
            .windows(ESCAPE_BYTES.len())
            .any(|bytes| bytes == ESCAPE_BYTES)
}

/// A free detail as it can be stored.
pub(crate) fn detail(key: String, mut value: Value) -> (String, Value) {
    mend(&mut value, 1);
    (mended_key(key), value)
}

fn mended_key(key: String) -> String {
    match bounded(&key, KEY_BYTES) {
        Cow::Borrowed(_) => key,
        Cow::Owned(other) => other,
    }
}

/// Whether a text can be stored, as it is after [`bounded`]. To write that in another form once more
/// would be to say something else.
fn is_storable_text(text: &str, max_bytes: usize) -> bool {
    text.len() <= max_bytes + CUT_BYTES && !text.as_bytes().contains(&0)
}

/// Whether a value is as [`detail`] makes it. Nothing is written for this, and nothing copied.
fn is_storable(value: &Value, depth: usize) -> bool {
    match value {
        Value::String(text) => is_storable_text(text, DETAIL_BYTES),
        // What stands in the place of a value may be an object where none would be taken.
        Value::Array(_) | Value::Object(_) if depth > MAX_DEPTH => false,
        Value::Array(values) => values.iter().all(|value| is_storable(value, depth + 1)),
        Value::Object(object) => object
            .iter()
            .all(|(key, value)| is_storable_text(key, KEY_BYTES) && is_storable(value, depth + 1)),
        Value::Number(number) => number.as_f64().is_some_and(f64::is_finite),
        Value::Null | Value::Bool(_) => true,
    }
}

fn mend(value: &mut Value, depth: usize) {
    match value {
        Value::String(text) => {
            if let Cow::Owned(other) = bounded(text, DETAIL_BYTES) {
                *text = other;
            }
        }
        Value::Array(_) | Value::Object(_) if depth >= MAX_DEPTH => {
            *value = json!({"too_deep": true});
        }
        Value::Array(values) => values.iter_mut().for_each(|value| mend(value, depth + 1)),
        Value::Object(object) => {
            let entries = std::mem::take(object).into_iter();
            *object = entries
                .map(|(key, mut value)| {
                    mend(&mut value, depth + 1);
                    (mended_key(key), value)
                })
                .collect();
        }
        // A build of `serde_json` may hold any number that was written.
        Value::Number(number) if !number.as_f64().is_some_and(f64::is_finite) => {
            let text = bounded(&number.to_string(), KIND_BYTES).into_owned();
            *value = json!({"number": text});
        }
        _ => {}
    }
}

/// The details as they can be stored. They are so already where they came in by [`detail`]; those
/// of a record that somebody has filled by hand are made so here.
pub(crate) fn extra(extra: &Map<String, Value>) -> Cow<'_, Map<String, Value>> {
    let is_fit =
        |(key, value): (&String, &Value)| is_storable_text(key, KEY_BYTES) && is_storable(value, 1);
    let storable = extra.iter().all(is_fit);
    if storable && has_at_most(extra, EXTRA_BYTES) {
        return Cow::Borrowed(extra);
    }
    let entries = extra.iter().map(|(key, value)| match is_fit((key, value)) {
        true => (key.clone(), value.clone()),
        false => detail(key.clone(), value.clone()),
    });
    let mut mended = entries.collect();
    fit(&mut mended, EXTRA_BYTES);
    Cow::Owned(mended)
}

/// Whether the details are no larger than this as JSON.
fn has_at_most(extra: &Map<String, Value>, max_bytes: usize) -> bool {
    serde_json::to_writer(Room(max_bytes), extra).is_ok()
}

/// Takes so many bytes, and keeps none.
struct Room(usize);

impl Write for Room {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self.0.checked_sub(bytes.len()) {
            Some(left) => self.0 = left,
            None => return Err(io::ErrorKind::WriteZero.into()),
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What stands in the place of a value that was left out.
pub(crate) fn omitted(bytes: usize) -> Map<String, Value> {
    [("omitted_bytes".to_owned(), bytes.into())]
        .into_iter()
        .collect()
}

/// Replaces values by their sizes, the largest first, until all fits; then it leaves out what comes
/// last, and says how much that was.
pub(crate) fn fit(extra: &mut Map<String, Value>, max_bytes: usize) {
    let size_of = |value: &Value| serde_json::to_vec(value).map_or(0, |json| json.len());
    // Quotes, a colon and a comma.
    let mut sizes: Vec<_> = extra
        .iter()
        .map(|(key, value)| (size_of(value), key.len() + 4, key.clone()))
        .collect();
    let mut total: usize = sizes.iter().map(|(value, key, _)| value + key).sum();
    sizes.sort_by_key(|(value, ..)| std::cmp::Reverse(*value));
    let mut keys = sizes.into_iter();
    for (bytes, _, key) in keys.by_ref().take_while(|(bytes, ..)| *bytes > 64) {
        if total <= max_bytes {
            return;
        }
        let marker = Value::Object(omitted(bytes));
        total = total.saturating_sub(bytes) + size_of(&marker);
        extra.insert(key, marker);
    }
    if total <= max_bytes {
        return;
    }
    let (mut kept, mut left_out) = (0, 0);
    extra.retain(|key, value| {
        let bytes = size_of(value) + key.len() + 4;
        let keep = kept + bytes <= max_bytes;
        kept += bytes * usize::from(keep);
        left_out += usize::from(!keep);
        keep
    });
    if left_out > 0 {
        extra.insert("omitted_keys".to_owned(), left_out.into());
    }
}

/// Whether JSON that was just written can be stored as it is. Most can, so this is quick, and errs on
/// the other side.
pub(crate) fn is_ordinary(json: &[u8]) -> bool {
    openings(json) < MAX_DEPTH
        && !has_unicode_escape(json)
        && !has_escape(json)
        && !may_have_long_number(json)
        && !may_have_large_exponent(json)
}

/// Whether there is a `\u`. Others are common: the ends of lines, and quotes.
fn has_unicode_escape(json: &[u8]) -> bool {
    json.contains(&b'\\') && json.windows(2).any(|it| it == br"\u")
}

/// Whether there are more than [`MAX_DIGITS`] digits in a row: those would stand at one of these
/// places at least.
fn may_have_long_number(json: &[u8]) -> bool {
    (MAX_DIGITS..json.len()).step_by(MAX_DIGITS).any(|at| {
        let (before, after) = json.split_at(at);
        let before = before.iter().rev().take_while(|it| is_of_number(it));
        let after = after.iter().take_while(|it| is_of_number(it));
        before.take(MAX_DIGITS).count() + after.take(MAX_DIGITS).count() >= MAX_DIGITS
    })
}

fn is_of_number(byte: &u8) -> bool {
    matches!(byte, b'0'..=b'9' | b'-' | b'+' | b'.' | b'e' | b'E')
}

/// How many objects and arrays there are: it is not deeper than that.
fn openings(json: &[u8]) -> usize {
    json.iter()
        .filter(|byte| matches!(byte, b'{' | b'['))
        .count()
}

fn may_have_large_exponent(json: &[u8]) -> bool {
    // Without a branch, so that many are looked at in one step.
    json.windows(5).fold(false, |found, it| {
        let exponent = (it[0] | 0x20) == b'e' && it[2..].iter().all(u8::is_ascii_digit);
        found | exponent
    })
}

/// JSON as it can be stored: of a row's values, which are not bounded here, as a record is as a
/// whole.
pub(crate) fn mended(json: &[u8]) -> Vec<u8> {
    let mut mender = Mender {
        json,
        at: 0,
        out: Vec::with_capacity(json.len() + 64),
    };
    mender.run();
    mender.out
}

/// Reads JSON that was written a moment ago, so nothing of its form is checked.
struct Mender<'a> {
    json: &'a [u8],
    at: usize,
    out: Vec<u8>,
}

impl Mender<'_> {
    fn run(&mut self) {
        let mut depth = 0;
        while let Some(byte) = self.json.get(self.at) {
            match byte {
                b'"' => self.string(),
                b'{' | b'[' if depth == MAX_DEPTH => {
                    self.skip();
                    self.out.extend_from_slice(br#"{"too_deep":true}"#);
                }
                b'-' | b'0'..=b'9' => self.number(),
                byte => {
                    match byte {
                        b'{' | b'[' => depth += 1,
                        b'}' | b']' => depth -= 1,
                        _ => {}
                    }
                    self.out.push(*byte);
                    self.at += 1;
                }
            }
        }
    }

    /// Goes behind an object or an array.
    fn skip(&mut self) {
        let mut depth = 0;
        while let Some(byte) = self.json.get(self.at) {
            match byte {
                b'"' => {
                    let written = self.out.len();
                    self.string();
                    self.out.truncate(written);
                    continue;
                }
                b'{' | b'[' => depth += 1,
                b'}' | b']' => depth -= 1,
                _ => {}
            }
            self.at += 1;
            if depth == 0 {
                return;
            }
        }
    }

    fn take(&mut self, bytes: usize) {
        let end = self.json.len().min(self.at + bytes);
        self.out.extend_from_slice(&self.json[self.at..end]);
        self.at = end;
    }

    fn string(&mut self) {
        self.take(1);
        loop {
            // Most of a text is taken at once.
            let rest = &self.json[self.at..];
            let ordinary = rest
                .iter()
                .position(|it| matches!(*it, b'"' | b'\\' | FIRST_OF_ESCAPE));
            self.take(ordinary.unwrap_or(rest.len()));
            match &self.json[self.at..] {
                [] => return,
                [b'"', ..] => return self.take(1),
                [b'\\', ..] => self.escape(),
                rest if rest.starts_with(ESCAPE_BYTES) => {
                    self.out.extend_from_slice(ESCAPE_BYTES);
                    self.take(ESCAPE_BYTES.len());
                }
                _ => self.take(1),
            }
        }
    }

    /// `\n`, `\u0000` and the like.
    fn escape(&mut self) {
        match self.unit(self.at) {
            None => self.take(2),
            Some(0) => self.instead("0"),
            Some(0x2400) => self.instead("␀"),
            Some(0xD800..=0xDBFF) if matches!(self.unit(self.at + 6), Some(0xDC00..=0xDFFF)) => {
                self.take(12);
            }
            Some(unit @ 0xD800..=0xDFFF) => self.instead(&format!("u{unit:04x}")),
            Some(_) => self.take(6),
        }
    }

    fn instead(&mut self, form: &str) {
        self.out.extend_from_slice(ESCAPE_BYTES);
        self.out.extend_from_slice(form.as_bytes());
        self.at += 6;
    }

    /// The number in an escape such as `\u0000`, if there is one here.
    fn unit(&self, at: usize) -> Option<u16> {
        let digits = self.json.get(at..at + 6)?.strip_prefix(br"\u")?;
        u16::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
    }

    fn number(&mut self) {
        let rest = &self.json[self.at..];
        let end = rest.iter().position(|byte| !is_of_number(byte));
        let number = &rest[..end.unwrap_or(rest.len())];
        self.at += number.len();
        if digits(number) <= MAX_DIGITS {
            return self.out.extend_from_slice(number);
        }
        let text = String::from_utf8_lossy(number);
        self.out.extend_from_slice(br#"{"number":""#);
        self.out
            .extend_from_slice(bounded(&text, KIND_BYTES).as_bytes());
        self.out.extend_from_slice(br#""}"#);
    }
}

/// How many digits a number has once it is written out.
fn digits(number: &[u8]) -> usize {
    let exponent = number.iter().position(|byte| matches!(byte, b'e' | b'E'));
    let Some(at) = exponent else {
        return number.len();
    };
    let exponent = std::str::from_utf8(&number[at + 1..]).unwrap_or_default();
    let exponent = exponent.trim_start_matches(['+', '-']).parse::<usize>();
    at.saturating_add(exponent.unwrap_or(usize::MAX))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    fn mended_text(json: &str) -> String {
        assert!(!is_ordinary(json.as_bytes()), "{json}");
        String::from_utf8(mended(json.as_bytes())).unwrap()
    }

    #[test]
    fn what_the_database_cannot_hold_is_written_in_another_form() {
        for (json, expected) in [
            (r#"{"a\u0000":"\u0000"}"#, r#"{"a␀0":"␀0"}"#),
            (r#"["␀0","\u2400"]"#, r#"["␀␀0","␀␀"]"#),
            (r#"["\ud800","\udc00x"]"#, r#"["␀ud800","␀udc00x"]"#),
            (r#"["\ud83d\ude00\u001b"]"#, r#"["\ud83d\ude00\u001b"]"#),
            (r#"["\\u0000\"\u0001"]"#, r#"["\\u0000\"\u0001"]"#),
            ("[1e400000,-2.5]", r#"[{"number":"1e400000"},-2.5]"#),
            ("[1e-99999]", r#"[{"number":"1e-99999"}]"#),
            ("[1e1000]", "[1e1000]"),
        ] {
            assert_eq!(mended_text(json), expected);
        }
        for before in [0, 1, 9_000, 15_999, 16_000, 20_000] {
            let before = "x".repeat(before);
            let long = mended_text(&format!("[\"{before}\",{}]", "7".repeat(20_000)));
            assert!(long.contains("number") && serde_json::from_str::<Value>(&long).is_ok());
        }
        let long = mended_text(&format!("[{}]", "7".repeat(20_000)));
        assert!(long.len() < 400 && serde_json::from_str::<Value>(&long).is_ok());
    }

    #[test]
    fn what_is_only_large_needs_no_mending() {
        let values = vec!["it’s 12,345 lines\n".repeat(500); 50];
        assert!(is_ordinary(&serde_json::to_vec(&values).unwrap()));
        let numbers: Vec<_> = (0..100_000).collect();
        assert!(is_ordinary(&serde_json::to_vec(&numbers).unwrap()));
    }

    #[test]
    fn what_is_nested_too_deep_is_left_out() {
        for (open, close) in [("[", "]"), (r#"{"[":"#, "}"), ("[\"]\",", "]")] {
            for depth in [MAX_DEPTH, MAX_DEPTH + 1, 5_000] {
                let json = format!("{}1{}", open.repeat(depth), close.repeat(depth));
                let mended = String::from_utf8(mended(json.as_bytes())).unwrap();
                serde_json::from_str::<Value>(&mended).unwrap();
                assert_eq!(mended.contains("too_deep"), depth > MAX_DEPTH);
            }
        }
        let mut value = json!(1);
        for _ in 0..1_000 {
            value = json!([value]);
        }
        let (_, value) = detail("k".to_owned(), value);
        assert!(serde_json::from_str::<Value>(&value.to_string()).is_ok());
    }

    #[test]
    fn details_are_bounded_as_a_whole() {
        let mut many: Map<_, _> = (0..9_000).map(|n| (format!("key {n}"), n.into())).collect();
        many.insert("text".to_owned(), "x".repeat(9_000).into());
        fit(&mut many, 10_000);
        assert!(serde_json::to_vec(&many).unwrap().len() < 10_200);
        assert!(many["omitted_keys"].as_u64().unwrap() > 8_000);
        let mut few = Map::new();
        few.insert("a".to_owned(), "x".repeat(9_000).into());
        few.insert("b".to_owned(), 1.into());
        fit(&mut few, 5_000);
        assert_eq!(
            Value::Object(few),
            json!({"a": {"omitted_bytes": 9_002}, "b": 1})
        );
    }

    fn odd_text() -> impl Strategy<Value = String> {
        let letters =
            prop::sample::select(vec!['\0', '␀', '0', 'u', 'a', '\u{1}', '😀', '"', '\\']);
        prop::collection::vec(letters, 0..12).prop_map(|letters| letters.into_iter().collect())
    }

    proptest! {
        #[test]
        fn two_texts_are_never_written_alike(one in odd_text(), two in odd_text()) {
            let (a, b) = (bounded(&one, 8), bounded(&two, 8));
            prop_assert_eq!(a == b, one == two);
            prop_assert!(!a.contains('\0'));
        }

        #[test]
        fn a_text_is_written_alike_as_a_text_and_in_json(texts in prop::collection::vec(odd_text(), 0..4)) {
            let json = serde_json::to_vec(&texts).unwrap();
            let back: Vec<String> = serde_json::from_slice(&mended(&json)).unwrap();
            let expected: Vec<_> = texts.iter().map(|text| escaped(text).into_owned()).collect();
            prop_assert_eq!(back, expected);
        }

        #[test]
        fn what_is_ordinary_needs_no_mending(texts in prop::collection::hash_map(".*", any::<f64>(), 0..5)) {
            let json = serde_json::to_vec::<HashMap<String, f64>>(&texts).unwrap();
            if is_ordinary(&json) {
                prop_assert_eq!(mended(&json), json);
            }
        }
    }
}
