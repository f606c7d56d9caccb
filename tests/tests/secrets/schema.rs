diesel::table! {
    vaults (id) {
        id -> Integer,
        name -> Text,
        password -> Text,
        pin -> Nullable<Text>,
        private_key -> Binary,
        payer_iban -> Text,
        door_token -> Nullable<Text>,
    }
}
