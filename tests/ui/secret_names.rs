//! Fields whose name says secret, and nobody decided.

use audit_diesel::Auditable;

diesel::table! { users (id) { id -> Integer, api_token -> Text, pwd -> Text, note -> Text, salt -> Text, tokenizer -> Text, pin -> Text } }
diesel::table! { tokens (token) { token -> Text, name -> Text } }
diesel::table! { otps (otp) { otp -> Text } }

#[derive(Auditable)]
#[diesel(table_name = users)]
struct User {
    id: i32,
    api_token: String,
    #[diesel(column_name = pwd)]
    login: String,
    #[diesel(column_name = note)]
    #[audit(touch, display)]
    secret_note: String,
    #[audit(redcat)]
    salt: String,
    tokenizer: String,
    #[audit(plain)]
    pin: String,
}

#[derive(Auditable)]
#[diesel(table_name = users)]
#[audit(embedded)]
struct Embedded {
    api_token: String,
}

#[derive(Auditable)]
#[diesel(table_name = tokens, primary_key(token))]
struct Token {
    token: String,
    name: String,
}

#[derive(Auditable)]
#[diesel(table_name = otps, primary_key(otp))]
struct Otp {
    #[audit(skip)]
    otp: String,
}

fn main() {}
