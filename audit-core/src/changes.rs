//! What changed: field → `{"old":…,"new":…}`, written straight to JSON text.

use std::collections::BTreeMap;
use std::fmt::{Debug, Display};

use serde::de::{MapAccess, Visitor};
use serde::ser::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::RawValue;

/// What happened to a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChangeKind {
    /// The row is new: `{"new":…}` of every audited field.
    Insert,
    /// The row changed: `{"old":…,"new":…}` of the fields that differ.
    Update,
    /// The row is gone: `{"old":…}` of every audited field.
    Delete,
}

impl ChangeKind {
    /// The record's action: `insert`, `update` or `delete`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Insert => "insert",
            Self::Update => "update",
            Self::Delete => "delete",
        }
    }
}

/// The changes of one row as a JSON object: field → `{"old":…,"new":…}`.
///
/// A redacted field is `{"redacted":true}`; a side that does not exist (the old row of an insert)
/// is left out, and a database NULL is `null`.
///
/// `"unreadable":["old"]` beside them names the sides whose value the field's type cannot read: what
/// stands there is the database's own text, and the side is left out where there is none.
/// `"indistinct":true` says that the database changed the value in a way that the field's type does
/// not tell.
#[derive(Clone, PartialEq)]
pub struct Changes(String);

impl Changes {
    /// The JSON text.
    pub fn as_json(&self) -> &str {
        &self.0
    }

    /// The changes as a JSON value, for looking into them.
    ///
    /// # Errors
    ///
    /// When a number does not fit, or the text holds a lone surrogate: the text is kept as it
    /// came, and only looking into it fails.
    pub fn to_value(&self) -> Result<serde_json::Value, serde_json::Error> {
        serde_json::from_str(&self.0)
    }

    /// Each field in the order of the model, with the JSON texts of what is said about it: `old`,
    /// `new`, or `redacted`. Nothing is looked into, so this cannot fail on a value.
    pub fn fields(&self) -> Vec<(String, BTreeMap<String, String>)> {
        serde_json::from_str::<FieldsInOrder>(&self.0).map_or_else(|_| Vec::new(), |f| f.0)
    }

    /// Of which nothing is said.
    pub(crate) fn none() -> Self {
        Self("{}".to_owned())
    }

    pub(crate) fn from_raw(raw: Box<RawValue>) -> Self {
        Self(Box::<str>::from(raw).into())
    }
}

impl Serialize for Changes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let raw: &RawValue = serde_json::from_str(&self.0).map_err(S::Error::custom)?;
        raw.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Changes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Box::<RawValue>::deserialize(deserializer).map(Self::from_raw)
    }
}

struct FieldsInOrder(Vec<(String, BTreeMap<String, String>)>);

impl<'de> Deserialize<'de> for FieldsInOrder {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct InOrder;

        impl<'de> Visitor<'de> for InOrder {
            type Value = FieldsInOrder;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object of fields")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<FieldsInOrder, A::Error> {
                let mut fields = Vec::new();
                while let Some((name, sides)) =
                    map.next_entry::<String, BTreeMap<String, Box<RawValue>>>()?
                {
                    let sides = sides
                        .into_iter()
                        .map(|(side, json)| (side, json.get().to_owned()));
                    fields.push((name, sides.collect()));
                }
                Ok(FieldsInOrder(fields))
            }
        }

        deserializer.deserialize_map(InOrder)
    }
}

impl Debug for Changes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_json())
    }
}

/// What a redacted field's type has to be, and the type of a field that is recorded in another
/// form. Every type with `PartialEq` is.
#[diagnostic::on_unimplemented(
    message = "whether a `{Self}` changed cannot be told: an audited field's type needs `PartialEq`",
    label = "cannot be compared",
    note = "derive `PartialEq` for it, or write `#[audit(skip)]` on the field to leave it out of the trail"
)]
pub trait Compared: PartialEq {}

#[diagnostic::do_not_recommend]
impl<T: PartialEq + ?Sized> Compared for T {}

/// What the type of an audited field has to be. Every type with `PartialEq` and
/// `serde::Serialize` is.
#[diagnostic::on_unimplemented(
    message = "a `{Self}` cannot be recorded: an audited field's type needs `PartialEq` and `serde::Serialize`",
    label = "cannot be compared and serialised",
    note = "derive both for it (for a type of another crate, turn on that crate's `serde` feature), or say on the field how it is recorded: `#[audit(display)]`, \
            `#[audit(debug)]`, `#[audit(with = \"path\")]`, `#[audit(redact)]` or `#[audit(skip)]`"
)]
pub trait Recorded: PartialEq + Serialize {}

#[diagnostic::do_not_recommend]
impl<T: PartialEq + Serialize + ?Sized> Recorded for T {}

/// What the changes of a row seldom exceed, so that they are written without a second allocation.
const USUAL_BYTES: usize = 256;

/// Collects the changed fields of one row.
///
/// The derive macro calls one method a field. Values are compared by `PartialEq` first, and only
/// those that differ are serialised; a redacted one never is. Nothing is allocated until the first
/// difference.
#[derive(Debug)]
pub struct ChangesWriter {
    kind: ChangeKind,
    json: Vec<u8>,
    significant: bool,
    unserializable: usize,
}

impl ChangesWriter {
    /// What is said of a field with a value that cannot be serialised.
    pub const UNSERIALIZABLE: &[u8] = br#"{"unserializable":true}"#;

    /// A writer for one row.
    pub fn new(kind: ChangeKind) -> Self {
        Self {
            kind,
            json: Vec::new(),
            significant: kind != ChangeKind::Update,
            unserializable: 0,
        }
    }

    /// An audited field: recorded when it differs.
    pub fn field<T>(&mut self, name: &str, old: Option<&T>, new: Option<&T>)
    where
        T: Recorded + ?Sized,
    {
        if self.differs(old, new) && !(incomparable(old, new) && same_form(old, new)) {
            self.significant |= self.write_sides(name, old, new);
        }
    }

    /// A touch field, such as `updated_at`: it is recorded beside other changes, and makes no
    /// record of its own.
    pub fn touch<T>(&mut self, name: &str, old: Option<&T>, new: Option<&T>)
    where
        T: Recorded + ?Sized,
    {
        if self.differs(old, new) && !(incomparable(old, new) && same_form(old, new)) {
            self.write_sides(name, old, new);
        }
    }

    /// A redacted field: that it changed is recorded, and its value is never serialised.
    pub fn redacted<T>(&mut self, name: &str, old: Option<&T>, new: Option<&T>)
    where
        T: Compared + ?Sized,
    {
        if self.differs(old, new) {
            self.redacted_changed(name);
        }
    }

    /// An audited field that is recorded through another form of its value: `with`, `display`,
    /// `debug` and bytes. The values themselves are compared, not their forms.
    pub fn field_as<'a, T, V>(
        &mut self,
        name: &str,
        old: Option<&'a T>,
        new: Option<&'a T>,
        touch: bool,
        form: impl Fn(&'a T) -> V,
    ) where
        T: Compared + ?Sized,
        V: Serialize,
    {
        if self.differs(old, new) {
            let incomparable = incomparable(old, new);
            let (old, new) = (old.map(&form), new.map(&form));
            if incomparable && same_form(old.as_ref(), new.as_ref()) {
                return;
            }
            self.significant |= self.write_sides(name, old.as_ref(), new.as_ref()) && !touch;
        }
    }

    /// A field that changed, with what is said about it: `write` adds the JSON object. A `touch`
    /// field makes no record of its own.
    pub fn changed(&mut self, name: &str, touch: bool, write: impl FnOnce(&mut Vec<u8>)) {
        self.significant |= !touch;
        self.write_name(name);
        write(&mut self.json);
    }

    /// A redacted field that changed.
    pub fn redacted_changed(&mut self, name: &str) {
        self.changed(name, false, |json| {
            json.extend_from_slice(br#"{"redacted":true}"#)
        });
    }

    /// How many values could not be serialised; each stands as `{"unserializable":true}`.
    pub fn unserializable(&self) -> usize {
        self.unserializable
    }

    /// The changes, or `None` where an update changed nothing that makes a record.
    pub fn finish(mut self) -> Option<Changes> {
        self.end()?;
        String::from_utf8(self.json).ok().map(Changes)
    }

    /// Begins with another row, in the same memory.
    pub(crate) fn begin(&mut self, kind: ChangeKind) {
        self.kind = kind;
        self.json.clear();
        self.significant = kind != ChangeKind::Update;
        self.unserializable = 0;
    }

    /// As [`finish`](Self::finish), for a writer that is used again.
    pub(crate) fn end(&mut self) -> Option<&[u8]> {
        if !self.significant {
            return None;
        }
        if self.json.is_empty() {
            self.json.push(b'{');
        }
        self.json.push(b'}');
        Some(&self.json)
    }

    fn differs<T: PartialEq + ?Sized>(&self, old: Option<&T>, new: Option<&T>) -> bool {
        self.kind != ChangeKind::Update || old != new
    }

    fn write_name(&mut self, name: &str) {
        if self.json.is_empty() {
            self.json.reserve(USUAL_BYTES);
            self.json.push(b'{');
        } else {
            self.json.push(b',');
        }
        // Writing a string to a `Vec` cannot fail.
        let _ = serde_json::to_writer(&mut self.json, name);
        self.json.push(b':');
    }

    /// Writes the field, and says whether there was something to write.
    fn write_sides<T: Serialize + ?Sized>(
        &mut self,
        name: &str,
        old: Option<&T>,
        new: Option<&T>,
    ) -> bool {
        // An optional embedded struct came or went, and this column was NULL and stays NULL.
        let one_sided = old.is_some() != new.is_some();
        if self.kind == ChangeKind::Update && one_sided && is_null(old.or(new)) {
            return false;
        }
        self.write_name(name);
        let value_at = self.json.len();
        let written = match self.kind {
            ChangeKind::Insert => self.write_side("{\"new\":", new),
            ChangeKind::Delete => self.write_side("{\"old\":", old),
            ChangeKind::Update => {
                self.write_side("{\"old\":", old) && self.write_side(",\"new\":", new)
            }
        };
        if written {
            self.json.push(b'}');
        } else {
            self.json.truncate(value_at);
            self.json.extend_from_slice(Self::UNSERIALIZABLE);
            self.unserializable += 1;
        }
        true
    }

    fn write_side<T: Serialize + ?Sized>(&mut self, key: &str, value: Option<&T>) -> bool {
        self.json.extend_from_slice(key.as_bytes());
        serde_json::to_writer(&mut self.json, &value).is_ok()
    }
}

/// NaN, and what contains one, does not even equal itself: its forms are compared instead, or each
/// update of the row would seem to change it.
#[expect(
    clippy::eq_op,
    reason = "whether a value equals itself is the question"
)]
fn incomparable<T: PartialEq + ?Sized>(old: Option<&T>, new: Option<&T>) -> bool {
    old.is_some() && old != old && new.is_some() && new != new
}

fn same_form<T: Serialize + ?Sized>(old: Option<&T>, new: Option<&T>) -> bool {
    match (serde_json::to_vec(&old), serde_json::to_vec(&new)) {
        (Ok(old), Ok(new)) => old == new,
        _ => false,
    }
}

fn is_null<T: Serialize + ?Sized>(value: Option<&T>) -> bool {
    serde_json::to_vec(&value).is_ok_and(|json| json == b"null")
}

/// Serialises bytes as a base64 string; the derive uses it for `Vec<u8>` and the like, and
/// `#[audit(with = "audit_diesel::base64")]` uses it for a type that holds bytes.
///
/// ```
/// assert_eq!(serde_json::to_string(&audit_core::base64(b"abc")).unwrap(), r#""YWJj""#);
/// ```
pub fn base64<'a, T: AsRef<[u8]> + ?Sized>(bytes: &'a T) -> impl Serialize + use<'a, T> {
    Base64(bytes.as_ref())
}

struct Base64<'a>(&'a [u8]);

impl Display for Base64<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let engine = &::base64::engine::general_purpose::STANDARD;
        Display::fmt(&::base64::display::Base64Display::new(self.0, engine), f)
    }
}

impl Serialize for Base64<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn update<T: Recorded>(old: &T, new: &T) -> Option<String> {
        let mut writer = ChangesWriter::new(ChangeKind::Update);
        writer.field("it", Some(old), Some(new));
        writer.touch("it", Some(old), Some(new));
        writer.field_as("it", Some(old), Some(new), false, |value| value);
        writer.finish().map(|changes| changes.as_json().to_owned())
    }

    #[test]
    fn nan_that_stays_is_no_change() {
        assert_eq!(update(&f64::NAN, &f64::NAN), None);
        assert_eq!(update(&Some(f64::NAN), &Some(f64::NAN)), None);
        assert!(update(&f64::NAN, &1.0).is_some());
        assert!(update(&f64::NAN, &f64::INFINITY).is_some());
        assert!(update(&[f64::NAN, 1.0], &[f64::NAN, 2.0]).is_some());
    }
}
