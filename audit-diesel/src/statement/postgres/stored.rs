//! PostgreSQL: values in its binary format, and what can be read of them without a type of Rust.

use diesel::pg::{Pg, PgValue};
use diesel::row::{Field, Row};

use crate::model::{Shown, StoredValues};
use crate::statement::json::{self, is_number, is_same_number, same_value, write_string};

/// The numbers by which PostgreSQL knows its own types.
mod oid {
    pub(super) const BOOL: u32 = 16;
    pub(super) const CHAR: u32 = 18;
    pub(super) const NAME: u32 = 19;
    pub(super) const INT8: u32 = 20;
    pub(super) const INT2: u32 = 21;
    pub(super) const INT4: u32 = 23;
    pub(super) const TEXT: u32 = 25;
    pub(super) const OID: u32 = 26;
    pub(super) const JSON: u32 = 114;
    pub(super) const XML: u32 = 142;
    pub(super) const FLOAT4: u32 = 700;
    pub(super) const FLOAT8: u32 = 701;
    pub(super) const BPCHAR: u32 = 1042;
    pub(super) const VARCHAR: u32 = 1043;
    pub(super) const DATE: u32 = 1082;
    pub(super) const TIMESTAMP: u32 = 1114;
    pub(super) const TIMESTAMPTZ: u32 = 1184;
    pub(super) const NUMERIC: u32 = 1700;
    pub(super) const UUID: u32 = 2950;
    pub(super) const JSONB: u32 = 3802;
    /// Types that were made in this database have numbers from here on.
    pub(super) const FIRST_OF_DATABASE: u32 = 16_384;
}

impl StoredValues for Pg {
    type Stored<'v> = PgValue<'v>;

    fn with_stored<'a, R: Row<'a, Self>, T>(
        row: &R,
        at: usize,
        then: impl FnOnce(Option<&PgValue<'_>>) -> T,
    ) -> T {
        let field = Row::get(row, at);
        let value = field.as_ref().and_then(Field::value);
        then(value.as_ref())
    }

    fn is_same(one: &PgValue<'_>, other: &PgValue<'_>) -> bool {
        one.as_bytes() == other.as_bytes()
    }

    /// NaN and the infinities are numbers for PostgreSQL, and null for JSON.
    fn is_faithful(_: &PgValue<'_>, json: &[u8]) -> bool {
        json != b"null"
    }

    fn write_text(stored: &PgValue<'_>, shown: Shown, json: &mut Vec<u8>) -> bool {
        write_text(stored.get_oid().get(), stored.as_bytes(), shown, json).is_some()
    }

    fn write_exactly(stored: &PgValue<'_>, form: &[u8], json: &mut Vec<u8>) -> bool {
        write_exactly(stored.get_oid().get(), stored.as_bytes(), form, json).is_some()
    }
}

fn write_text(oid: u32, bytes: &[u8], shown: Shown, json: &mut Vec<u8>) -> Option<()> {
    match oid {
        oid::JSON | oid::JSONB => {
            let text = json_text(oid, bytes)?;
            return json::write_text(text.as_bytes(), shown, json).then_some(());
        }
        oid::BOOL => write_string(json, if bytes == [0] { "false" } else { "true" }),
        oid::INT2 => write_string(
            json,
            &i16::from_be_bytes(bytes.try_into().ok()?).to_string(),
        ),
        oid::INT4 => write_string(
            json,
            &i32::from_be_bytes(bytes.try_into().ok()?).to_string(),
        ),
        oid::INT8 => write_string(json, &i64_of(bytes)?.to_string()),
        oid::OID => write_string(
            json,
            &u32::from_be_bytes(bytes.try_into().ok()?).to_string(),
        ),
        oid::FLOAT4 => {
            let number = f32::from_be_bytes(bytes.try_into().ok()?);
            write_string(json, &float_text(number.into(), &number));
        }
        oid::FLOAT8 => {
            let number = f64::from_be_bytes(bytes.try_into().ok()?);
            write_string(json, &float_text(number, &number));
        }
        oid::NUMERIC => write_string(json, &numeric_text(bytes)?),
        oid::DATE => {
            let days = i32::from_be_bytes(bytes.try_into().ok()?);
            write_string(json, &date_text(days));
        }
        oid::TIMESTAMP => write_string(json, &timestamp_text(i64_of(bytes)?, "")),
        oid::TIMESTAMPTZ => write_string(json, &timestamp_text(i64_of(bytes)?, "+00")),
        oid::UUID => {
            let uuid = uuid::Uuid::from_slice(bytes).ok()?;
            write_string(json, &uuid.to_string());
        }
        oid::TEXT | oid::VARCHAR | oid::BPCHAR | oid::NAME | oid::CHAR | oid::XML => {
            return json::write_text(bytes, shown, json).then_some(());
        }
        // Enums, and types over text such as `citext`, are sent as their text. What is no text, such
        // as a range or a point, has lengths and flags in it, which are control characters.
        oid::FIRST_OF_DATABASE.. => {
            let text = std::str::from_utf8(bytes).ok()?;
            let is_text = |c: char| !c.is_control() || matches!(c, '\t' | '\n' | '\r');
            let is_text = !text.is_empty() && text.chars().all(is_text);
            return (is_text && json::write_text(bytes, shown, json)).then_some(());
        }
        _ => return None,
    }
    Some(())
}

fn write_exactly(oid: u32, bytes: &[u8], form: &[u8], json: &mut Vec<u8>) -> Option<()> {
    match oid {
        oid::JSON | oid::JSONB => {
            let text = json_text(oid, bytes)?;
            if !same_value(text.as_bytes(), form) {
                return None;
            }
            json.extend_from_slice(text.trim().as_bytes());
        }
        oid::NUMERIC => {
            let text = numeric_text(bytes).filter(|text| is_number(text.as_bytes()))?;
            if !is_same_number(&text, form) {
                return None;
            }
            json.extend_from_slice(text.as_bytes());
        }
        _ => return None,
    }
    Some(())
}

fn json_text(oid: u32, bytes: &[u8]) -> Option<&str> {
    // jsonb begins with the version of its format.
    let text = match oid {
        oid::JSONB => bytes.strip_prefix(&[1])?,
        _ => bytes,
    };
    std::str::from_utf8(text).ok()
}

fn i64_of(bytes: &[u8]) -> Option<i64> {
    Some(i64::from_be_bytes(bytes.try_into().ok()?))
}

fn float_text(number: f64, shortest: &dyn std::fmt::Display) -> String {
    if number.is_nan() {
        "NaN".to_owned()
    } else if number.is_infinite() {
        if number > 0.0 {
            "Infinity"
        } else {
            "-Infinity"
        }
        .to_owned()
    } else {
        shortest.to_string()
    }
}

fn infinity(positive: bool) -> String {
    if positive { "infinity" } else { "-infinity" }.to_owned()
}

/// Days from 1970 to 2000, where PostgreSQL begins to count.
const DAYS_TO_2000: i64 = 10_957;
const MICROS_OF_DAY: i64 = 86_400_000_000;

fn date_text(days: i32) -> String {
    match days {
        i32::MAX => infinity(true),
        i32::MIN => infinity(false),
        days => {
            let (date, era) = civil(i64::from(days) + DAYS_TO_2000);
            date + era
        }
    }
}

fn timestamp_text(micros: i64, zone: &str) -> String {
    match micros {
        i64::MAX => return infinity(true),
        i64::MIN => return infinity(false),
        _ => {}
    }
    let (date, era) = civil(micros.div_euclid(MICROS_OF_DAY) + DAYS_TO_2000);
    let micros = micros.rem_euclid(MICROS_OF_DAY);
    let (seconds, micros) = (micros / 1_000_000, micros % 1_000_000);
    let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    let fraction = match micros {
        0 => String::new(),
        micros => format!(".{micros:06}").trim_end_matches('0').to_owned(),
    };
    format!("{date} {hour:02}:{minute:02}:{second:02}{fraction}{zone}{era}")
}

/// The date of a day since 1970 in the Gregorian calendar, and the era where it is not ours.
///
/// Years are counted from March, so that the leap day is a year's last, in eras of 400 years, which
/// are all of one length.
fn civil(days: i64) -> (String, &'static str) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = (month_from_march + 2) % 12 + 1;
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    // There is no year 0.
    let (year, era) = if year > 0 {
        (year, "")
    } else {
        (1 - year, " BC")
    };
    (format!("{year:04}-{month:02}-{day:02}"), era)
}

/// Digits to the base of 10,000, of which the first stands for `10,000^weight`.
fn numeric_text(bytes: &[u8]) -> Option<String> {
    let word = |at: usize| {
        let word = bytes.get(2 * at..2 * at + 2)?;
        Some(i16::from_be_bytes(word.try_into().ok()?))
    };
    let (count, weight) = (usize::try_from(word(0)?).ok()?, i32::from(word(1)?));
    let scale = usize::try_from(word(3)?).ok()?;
    let sign = match word(2)?.cast_unsigned() {
        0x0000 => "",
        0x4000 => "-",
        0xC000 => return Some("NaN".to_owned()),
        0xD000 => return Some("Infinity".to_owned()),
        0xF000 => return Some("-Infinity".to_owned()),
        _ => return None,
    };
    // The digit that stands for `10,000^power`.
    let digit = |power: i32| match usize::try_from(weight - power) {
        Ok(at) if at < count => word(4 + at).unwrap_or(0),
        _ => 0,
    };
    let mut text = sign.to_owned();
    text.push_str(&digit(weight.max(0)).to_string());
    for power in (0..weight).rev() {
        text.push_str(&format!("{:04}", digit(power)));
    }
    if scale > 0 {
        let groups = i32::try_from(scale.div_ceil(4)).ok()?;
        let fraction: String = (1..=groups).map(|n| format!("{:04}", digit(-n))).collect();
        text.push('.');
        text.push_str(fraction.get(..scale)?);
    }
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_read_as_postgresql_writes_them() {
        let day = |days| civil(days);
        assert_eq!(day(0), ("1970-01-01".to_owned(), ""));
        assert_eq!(day(11_016), ("2000-02-29".to_owned(), ""));
        assert_eq!(day(-719_163), ("0001-12-31".to_owned(), " BC"));
        assert_eq!(timestamp_text(-1, "+00"), "1999-12-31 23:59:59.999999+00");
        assert_eq!(timestamp_text(1_500_000, ""), "2000-01-01 00:00:01.5");
        assert_eq!(timestamp_text(i64::MAX, ""), "infinity");
        assert_eq!(date_text(i32::MIN), "-infinity");
    }

    #[test]
    fn numbers_read_as_postgresql_writes_them() {
        let numeric = |words: &[i16]| {
            let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_be_bytes()).collect();
            numeric_text(&bytes).unwrap_or_default()
        };
        assert_eq!(numeric(&[0, 0, 0, 2]), "0.00");
        assert_eq!(numeric(&[3, 1, 0x4000, 2, 1, 2345, 6700]), "-12345.67");
        assert_eq!(numeric(&[1, -1, 0, 6, 12]), "0.001200");
        assert_eq!(numeric(&[1, 2, 0, 0, 7]), "700000000");
        assert_eq!(numeric(&[0, 0, -16384, 0]), "NaN");
        assert_eq!(numeric(&[1, 0]), "");
    }
}
