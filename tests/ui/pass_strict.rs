//! Generated code makes no noise under strict lints, needs no prelude, and takes no names.

#![deny(warnings, missing_docs, unreachable_pub, unused_qualifications, unused_lifetimes)]
#![deny(single_use_lifetimes, trivial_casts, let_underscore_drop, non_ascii_idents)]
#![deny(elided_lifetimes_in_paths, explicit_outlives_requirements, variant_size_differences)]
#![forbid(unsafe_code)]

mod renamed {
    pub(crate) use audit_diesel as audit;
}

mod schema {
    #![allow(missing_docs, unused_qualifications, unreachable_pub, elided_lifetimes_in_paths)]
    diesel::table! { users (id) { id -> Integer, r#type -> Nullable<Text>, secret -> Text, note -> Nullable<Text>, bytes -> Nullable<Binary> } }
    diesel::table! { orders (id) { id -> Integer, city -> Text, r#match -> Text } }
}

#[no_implicit_prelude]
mod bare {
    use ::audit_diesel::Auditable;
    use ::std::option::Option as Maybe;
    use ::std::string::String;
    use ::std::vec::Vec;

    /// Hides what generated code might use.
    #[allow(dead_code)]
    pub(crate) struct Option;
    #[allow(dead_code)]
    pub(crate) struct Default;
    #[allow(dead_code)]
    pub(crate) mod core {}
    #[allow(dead_code)]
    pub(crate) mod diesel {}

    /// A row.
    #[derive(Auditable)]
    #[diesel(table_name = crate::schema::users)]
    #[audit(crate = "crate::renamed::audit")]
    pub(crate) struct User<'a> {
        pub(crate) id: i32,
        pub(crate) r#type: Maybe<&'a str>,
        #[audit(redact)]
        pub(crate) secret: String,
        #[audit(display)]
        pub(crate) note: ::std::option::Option<String>,
        pub(crate) bytes: ::std::option::Option<Vec<u8>>,
    }

    /// A part of a row.
    #[derive(Auditable)]
    #[diesel(table_name = crate::schema::orders)]
    #[audit(embedded)]
    pub(crate) struct City {
        pub(crate) city: String,
    }

    /// The row.
    #[derive(Auditable)]
    #[diesel(table_name = crate::schema::orders)]
    #[audit(leave_out(match))]
    pub(crate) struct Order {
        pub(crate) id: i32,
        #[diesel(embed)]
        pub(crate) city: Maybe<City>,
    }
}

macro_rules! model {
    ($table:ident, $name:ident { $($field:ident: $ty:ty),* }) => {
        mod tables {
            #![allow(missing_docs, unused_qualifications, unreachable_pub, elided_lifetimes_in_paths)]
            diesel::table! { $table (id) { id -> Integer, body -> Nullable<Binary> } }
        }

        #[derive(audit_diesel::Auditable)]
        #[diesel(table_name = tables::$table)]
        struct $name { $($field: $ty),* }
    };
}

// Types that come through `macro_rules!` stand in invisible groups.
model!(notes, Note { id: i32, body: Option<Vec<u8>> });

fn main() {
    use audit_diesel::{AuditContext, Record};

    let user = bare::User {
        id: 1,
        r#type: Some("t"),
        secret: String::new(),
        note: Some("n".to_owned()),
        bytes: Some(b"abc".to_vec()),
    };
    let record = Record::insert(&user, AuditContext::default()).unwrap();
    assert_eq!(
        record.changes.unwrap().as_json(),
        r#"{"id":{"new":1},"type":{"new":"t"},"secret":{"redacted":true},"note":{"new":"n"},"bytes":{"new":"YWJj"}}"#
    );
    assert_eq!(record.resource_type.as_deref(), Some("users"));

    let order = bare::Order { id: 1, city: Some(bare::City { city: "c".to_owned() }) };
    assert!(Record::delete(&order, AuditContext::default()).is_some());

    let note = Note { id: 1, body: Some(b"abc".to_vec()) };
    let record = Record::insert(&note, AuditContext::default()).unwrap();
    assert!(record.changes.unwrap().as_json().contains("YWJj"));
}
