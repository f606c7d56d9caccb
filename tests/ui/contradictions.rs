//! Words that exclude each other.

use audit_diesel::Auditable;

diesel::table! { users (id) { id -> Integer, a -> Text, b -> Text, c -> Text, d -> Text, e -> Text, f -> Text, g -> Text } }

#[derive(Auditable)]
#[diesel(table_name = users)]
struct User {
    id: i32,
    #[audit(redact, skip)]
    a: String,
    #[audit(redact, with = "path")]
    b: String,
    #[audit(skip)]
    #[audit(rename = "x")]
    c: String,
    #[audit(display, debug)]
    d: String,
    #[audit(touch, touch)]
    e: String,
    #[audit(plain, redact)]
    f: String,
    #[audit(touch, redact)]
    g: String,
}

fn main() {}
