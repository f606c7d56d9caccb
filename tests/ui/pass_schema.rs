//! `audit_schema!` makes no noise under strict lints, and needs no prelude.

#![deny(warnings, missing_docs, unreachable_pub, unused_qualifications, unused_lifetimes)]
#![deny(single_use_lifetimes, trivial_casts, let_underscore_drop, non_ascii_idents)]
#![deny(elided_lifetimes_in_paths, explicit_outlives_requirements, variant_size_differences)]
#![forbid(unsafe_code)]

mod renamed {
    pub(crate) use audit_diesel as audit;
}

#[allow(missing_docs, unused_qualifications, unreachable_pub, elided_lifetimes_in_paths)]
#[path = "schema/app.rs"]
mod tables;

#[no_implicit_prelude]
mod bare {
    use ::audit_diesel::Auditable;
    use ::std::string::String;

    /// A row.
    #[derive(Auditable)]
    #[diesel(table_name = crate::tables::users)]
    #[audit(leave_out(city), crate = "crate::renamed::audit")]
    pub(crate) struct User<'a> {
        pub(crate) id: i32,
        pub(crate) email: &'a str,
        #[audit(redact)]
        pub(crate) tok: String,
        #[audit(plain)]
        pub(crate) billing_iban: String,
    }

    ::audit_diesel::audit_schema! {
        schema: "schemas/app.rs" => crate::tables,
        audited: { users: User<'_> },
        exempt: { api_keys: "r", auth::sessions: "r" },
        secrets: ["iban"],
        crate: crate::renamed::audit,
    }
}

fn main() {
    drop(bare::User { id: 1, email: "", tok: String::new(), billing_iban: String::new() });
    assert_eq!(bare::SCHEMA.tables().len(), 3);
}
