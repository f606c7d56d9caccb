//! What serde is told about a field does not hold in the trail: the author decides.

use audit_diesel::Auditable;
use serde::{Serialize, Serializer};

diesel::table! {
    users (id) {
        id -> Integer,
        a -> Text, b -> Text, c -> Text, d -> Text, e -> Text, f -> Text, g -> Text,
        h -> Text, i -> Text, j -> Text, api_token -> Text, city -> Text,
    }
}
diesel::table! { notes (id) { id -> Text, body -> Text, kind -> Text, mark -> Text } }

fn hidden<S: Serializer>(_: &str, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str("hidden")
}

fn is_x(text: &str) -> bool {
    text == "x"
}

mod stars {
    pub fn serialize<S: serde::Serializer>(_: &str, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str("***")
    }
}

#[derive(Auditable, Serialize)]
#[diesel(table_name = users)]
struct User {
    id: i32,
    #[serde(skip_serializing)]
    a: String,
    #[serde(serialize_with = "hidden")]
    b: String,
    #[serde(rename = "bee")]
    c: String,
    #[serde(skip)]
    d: String,
    #[serde(default, skip_serializing_if = "is_x")]
    e: String,
    #[serde(with = "stars")]
    f: String,
    #[cfg_attr(all(), serde(skip_serializing))]
    g: String,
    #[serde(rename(serialize = "aitch", deserialize = "x"))]
    h: String,
    // One decision, and one message, however much is said.
    #[serde(rename = "eye")]
    #[serde(skip_serializing_if = "is_x", serialize_with = "hidden")]
    i: String,
    #[serde(flatten)]
    j: std::collections::BTreeMap<String, String>,
    #[serde(skip_serializing)]
    api_token: String,
    #[serde(skip_serializing)]
    #[diesel(embed)]
    address: Address,
}

#[derive(Auditable, Serialize)]
#[diesel(table_name = users)]
#[audit(embedded)]
struct Address {
    #[serde(skip_serializing)]
    city: String,
}

#[derive(Clone, Auditable, Serialize)]
#[diesel(table_name = notes)]
#[serde(into = "Shown")]
struct Note {
    #[serde(skip_serializing)]
    #[audit(skip)]
    id: String,
    body: String,
    kind: String,
    #[audit(plain)]
    mark: String,
}

#[derive(Serialize)]
struct Shown {
    kind: String,
}

impl From<Note> for Shown {
    fn from(note: Note) -> Self {
        Self { kind: note.kind }
    }
}

fn main() {}
