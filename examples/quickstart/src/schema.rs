diesel::table! {
    quickstart_users (id) {
        id -> Integer,
        email -> Text,
        role -> Text,
        api_token -> Text,
        updated_at -> Timestamp,
    }
}
