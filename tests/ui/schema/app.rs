diesel::table! {
    users (id) {
        id -> Integer,
        email -> Text,
        #[sql_name = "token"]
        tok -> Text,
        billing_iban -> Text,
        city -> Text,
    }
}

diesel::table! {
    api_keys (id) {
        id -> Integer,
    }
}

pub mod auth {
    diesel::table! {
        #[sql_name = "web_sessions"]
        auth.sessions (id) {
            id -> Integer,
        }
    }
}
