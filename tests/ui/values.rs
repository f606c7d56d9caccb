//! A word with a value that it does not take, or without one that it needs.

use audit_diesel::Auditable;

diesel::table! { users (id) { id -> Integer, a -> Text, b -> Text, c -> Text, d -> Text, e -> Text, f -> Text } }

#[derive(Auditable)]
#[diesel(table_name = users)]
#[audit(resource = users)]
struct User {
    id: i32,
    #[audit(redact = true)]
    a: String,
    #[audit(with = path::to)]
    b: String,
    #[audit(with = "not a path")]
    c: String,
    #[audit(rename)]
    d: String,
    #[audit]
    e: String,
    #[audit(rename = "", touch)]
    f: String,
}

fn main() {}
