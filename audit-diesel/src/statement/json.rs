//! JSON of values that no type of Rust has made.

use serde_json::Value;
use serde_json::value::RawValue;

use crate::model::Shown;

pub(super) fn write_string(json: &mut Vec<u8>, text: &str) {
    // Writing a text to a `Vec` cannot fail.
    let _ = serde_json::to_writer(json, text);
}

/// Writes a text of the database, and says whether it is to be shown.
///
/// Of a structure in JSON it is only where the field's type is one of JSON: any other may leave parts
/// of the structure out on purpose.
pub(super) fn write_text(text: &[u8], shown: Shown, json: &mut Vec<u8>) -> bool {
    let Ok(text) = std::str::from_utf8(text) else {
        return false;
    };
    if shown == Shown::Json {
        let raw: Result<&RawValue, _> = serde_json::from_str(text);
        return match raw {
            Ok(raw) => {
                json.extend_from_slice(raw.get().as_bytes());
                true
            }
            Err(_) => false,
        };
    }
    let is_structure = text.trim_start().starts_with(['{', '[']);
    if !is_structure {
        write_string(json, text);
    }
    !is_structure
}

/// Whether two JSON texts say the same, as far as numbers of 64 bits tell.
pub(super) fn same_value(one: &[u8], other: &[u8]) -> bool {
    let read = |json| serde_json::from_slice::<Value>(json).ok();
    let one = read(one);
    one.is_some() && one == read(other)
}

/// Whether a number of the database is the number `json` in more digits.
pub(super) fn is_same_number(stored: &str, json: &[u8]) -> bool {
    let json = std::str::from_utf8(json).unwrap_or_default();
    match (stored.parse(), json.parse()) {
        (Ok(stored), Ok(json)) => is_rounded(stored, json),
        _ => false,
    }
}

/// Whether two numbers are the same, to the digits that a number of 32 bits has.
pub(super) fn is_rounded(one: f64, other: f64) -> bool {
    let (short, other_short) = (one as f32, other as f32);
    one == other || short == other_short && short.is_finite()
}

/// Whether it is a JSON number.
#[cfg(feature = "postgres")]
pub(super) fn is_number(json: &[u8]) -> bool {
    json.first()
        .is_some_and(|b| b.is_ascii_digit() || *b == b'-')
        && serde_json::from_slice::<&RawValue>(json).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_in_more_digits_is_the_same_and_one_that_stands_for_it_is_not() {
        assert!(is_same_number("0.1000000000000000000001", b"0.1"));
        assert!(is_same_number("16777217", b"16777216.0"));
        assert!(!is_same_number("1234.56", b"1000"));
        assert!(!is_same_number("1234.56", b"0"));
        assert!(!is_same_number("2e300", b"1e300"));
        assert!(!is_same_number("1", b"null"));
    }
}
