//! A type that cannot be compared or serialised is named once, at the field.

use audit_diesel::Auditable;

diesel::table! { users (id) { id -> Integer, role -> Text, roles -> Text, token -> Text, shown -> Text, formed -> Text, maybe -> Text } }

struct Role;

#[derive(PartialEq)]
struct Comparable;

#[derive(Auditable)]
#[diesel(table_name = users)]
struct User {
    id: i32,
    role: Role,
    roles: Vec<Option<Comparable>>,
    #[audit(redact)]
    token: Role,
    #[audit(display)]
    shown: Comparable,
    #[audit(with = "length")]
    formed: Comparable,
    #[audit(with = "no_such_function")]
    maybe: i32,
}

fn length(text: &str) -> usize {
    text.len()
}

fn main() {}
