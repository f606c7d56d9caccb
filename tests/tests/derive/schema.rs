//! The tables.

diesel::table! {
    users (id) {
        id -> BigInt,
        email -> Text,
        role -> Text,
        api_token -> Text,
        login_count -> Integer,
        last_seen -> Timestamptz,
        updated_at -> Timestamptz,
    }
}
diesel::table! {
    every_things (id) {
        id -> Uuid,
        amount -> Numeric,
        large -> BigInt,
        document -> Jsonb,
        maybe -> Nullable<Text>,
        twice -> Nullable<Text>,
        born -> Date,
        labels -> Array<Text>,
        #[sql_name = "type"]
        type_ -> Text,
        matrix -> Array<Integer>,
    }
}
diesel::table! {
    blobs (id) {
        id -> Bytea,
        vec -> Bytea,
        option -> Nullable<Bytea>,
        double -> Nullable<Bytea>,
        array -> Bytea,
        boxed -> Bytea,
        cow -> Bytea,
        slice -> Nullable<Bytea>,
    }
}
diesel::table! {
    memberships (org_id, user_id) {
        user_id -> BigInt,
        org_id -> Text,
        role -> Text,
    }
}
pub(crate) mod auth {
    diesel::table! {
        auth.accounts (id) {
            id -> Integer,
            name -> Text,
        }
    }
}
diesel::table! {
    orders (id) {
        id -> Integer,
        bill_city -> Text,
        bill_zip -> Text,
        ship_city -> Nullable<Text>,
        ship_zip -> Nullable<Text>,
    }
}
diesel::table! {
    documents (id) {
        id -> Integer,
        body -> Jsonb,
        note -> Text,
        secret -> Text,
    }
}
diesel::table! {
    forms (id) {
        id -> Integer,
        shown -> Text,
        shown_maybe -> Nullable<Text>,
        debugged -> Nullable<Text>,
        masked -> Text,
        length -> Nullable<Text>,
        touched -> Text,
        plain_name -> Text,
    }
}
diesel::table! {
    stamps (id) {
        id -> Integer,
        updated_at -> Integer,
    }
}
diesel::table! {
    secret_stamps (id) {
        id -> Integer,
        updated_at -> Integer,
    }
}
diesel::table! {
    skipped_stamps (id) {
        id -> Integer,
        name -> Text,
        updated_at -> Integer,
    }
}
diesel::table! {
    renamed_stamps (id) {
        id -> Integer,
        updated_at -> Integer,
    }
}
diesel::table! {
    unknown_keys (id) {
        id -> Integer,
        name -> Text,
    }
}
