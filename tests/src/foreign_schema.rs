//! A schema.rs that lives in another crate than the models: in a test, this crate is another one.

diesel::table! {
    foreign_things (id) {
        id -> Integer,
        name -> Text,
    }
}
