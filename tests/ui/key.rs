//! The key has to be there, and in clear text.

use audit_diesel::Auditable;

diesel::table! { users (id) { id -> Integer, name -> Text } }
diesel::table! { members (org, user) { org -> Integer, user -> Integer, role -> Text } }
diesel::table! { tokens (token) { token -> Text, name -> Text } }

#[derive(Auditable)]
#[diesel(table_name = users)]
struct User {
    name: String,
}

#[derive(Auditable)]
#[diesel(table_name = members, primary_key(org, user))]
struct Member {
    org: i32,
    role: String,
}

#[derive(Auditable)]
#[diesel(table_name = tokens, primary_key(token))]
struct Token {
    #[audit(redact)]
    token: String,
    name: String,
}

fn main() {}
