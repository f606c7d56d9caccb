// The schema of the examples in these pages, as `diesel print-schema` writes it.

diesel::table! {
    users (id) {
        id -> Integer,
        email -> Text,
        api_token -> Text,
        search_words -> Text,
    }
}

diesel::table! {
    sessions (id) {
        id -> Integer,
        user_id -> Integer,
    }
}
