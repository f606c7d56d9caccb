//! What serde is told about a field, and what the author decided about it.

use audit_diesel::Auditable;
use serde::{Deserialize, Serialize, Serializer};
use serde_json::json;

use super::support::insert;

diesel::table! {
    accounts (id) {
        id -> Integer, hidden -> Text, short -> Text, name -> Text, nick -> Nullable<Text>,
        tags -> Text, old -> Text, city -> Text,
    }
}

fn first_letter<S: Serializer>(text: &str, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&text[..1])
}

fn length(text: &str) -> usize {
    text.len()
}

/// Each is decided, or says nothing of what is written.
#[derive(Auditable, Serialize, Deserialize)]
#[diesel(table_name = accounts)]
#[serde(rename_all = "camelCase", tag = "kind")]
struct Account {
    #[serde(rename = "id")]
    id: i32,
    #[serde(skip_serializing)]
    #[audit(redact)]
    hidden: String,
    #[serde(serialize_with = "first_letter")]
    #[audit(with = "length")]
    short: String,
    #[serde(rename = "fullName", alias = "n")]
    #[audit(rename = "full_name")]
    name: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    nick: Option<String>,
    #[serde(skip_serializing_if = "String::is_empty", deserialize_with = "any")]
    tags: String,
    #[serde(skip)]
    #[audit(plain)]
    old: String,
    #[serde(flatten)]
    #[diesel(embed)]
    address: Address,
}

fn any<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    String::deserialize(deserializer)
}

#[derive(Auditable, Serialize, Deserialize)]
#[diesel(table_name = accounts)]
#[audit(embedded)]
struct Address {
    #[serde(rename(deserialize = "town"), skip_deserializing)]
    city: String,
}

fn account(hidden: &str, short: &str) -> Account {
    Account {
        id: 1,
        hidden: hidden.to_owned(),
        short: short.to_owned(),
        name: "Ada".to_owned(),
        nick: None,
        tags: String::new(),
        old: "o".to_owned(),
        address: Address {
            city: "c".to_owned(),
        },
    }
}

#[test]
fn what_the_author_decided_is_recorded_whatever_serde_is_told() {
    assert_eq!(
        insert(&account("s3cret", "short")),
        json!({
            "id": {"new": 1},
            "hidden": {"redacted": true},
            "short": {"new": 5},
            "full_name": {"new": "Ada"},
            "nick": {"new": null},
            "tags": {"new": ""},
            "old": {"new": "o"},
            "city": {"new": "c"},
        })
    );
}
