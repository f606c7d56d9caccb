//! `audit_schema!`: what it leaves for the run time.

use std::fs;

use audit_diesel::{Auditable, Coverage, audit_schema};

#[path = "../fixtures/schema/app.rs"]
mod tables;

mod models {
    use audit_diesel::Auditable;

    use super::tables::*;

    #[derive(Auditable)]
    #[diesel(table_name = users)]
    #[audit(leave_out(search_vector))]
    pub struct User<'a> {
        pub id: i32,
        #[diesel(column_name = type_)]
        pub kind: &'a str,
        #[audit(redact)]
        pub api_token: String,
        #[audit(skip)]
        pub logins: i32,
        #[audit(plain)]
        pub iban: String,
        #[diesel(embed)]
        pub address: Option<Address>,
    }

    #[derive(Auditable)]
    #[diesel(table_name = users)]
    #[audit(embedded)]
    pub struct Address {
        pub city: Option<String>,
        #[audit(redact)]
        pub door_pin: String,
    }

    #[derive(Auditable)]
    #[diesel(table_name = auth::accounts)]
    #[audit(resource = "account")]
    pub struct Account {
        pub id: i32,
        #[diesel(embed)]
        #[audit(skip)]
        pub secrets: Secrets,
    }

    #[derive(Auditable)]
    #[diesel(table_name = auth::accounts)]
    #[audit(embedded)]
    pub struct Secrets {
        #[audit(plain)]
        pub otp: String,
    }
}

audit_schema! {
    schema: "fixtures/schema/app.rs" => crate::tables,
    audited: { users: models::User<'static>, auth::accounts: models::Account },
    exempt: {
        auth::sessions: "rows live for minutes",
        recent_users: "a view",
        orders: "not yet",
    },
    secrets: ["iban"],
}

/// Everything that the macro can read, and no table of it compiled.
mod odd {
    audit_diesel::audit_schema! {
        schema: "fixtures/schema/odd.rs" => crate::nowhere,
        exempt: {
            users: "r", memberships: "r", weird_orders: "r", billing::invoices: "r",
            billing::old::invoices_: "r", extra::extras: "under a cfg that is off",
            auth::sessions: "r", auth::deeper::deep: "r", elsewhere::by_path: "r", included: "r",
        },
    }
}

/// A schema of another crate.
mod outside {
    audit_diesel::audit_schema! {
        schema: "../audit-diesel/docs/schema.rs" => crate::nowhere,
        exempt: { users: "r", sessions: "r" },
    }
}

#[test]
fn the_file_may_be_outside_of_the_crate() {
    let tables: Vec<_> = outside::SCHEMA.tables().iter().map(|t| t.name()).collect();
    assert_eq!(tables, ["users", "sessions"]);
    assert_eq!(outside::SCHEMA.audited().count(), 0);
    let audited: Vec<_> = SCHEMA.audited().collect();
    assert_eq!(audited, ["users", "auth.accounts"]);
}

#[test]
fn the_tables_are_there_as_data() {
    let names: Vec<_> = SCHEMA.tables().iter().map(|table| table.name()).collect();
    let expected = [
        "users",
        "auth.accounts",
        "auth.web_sessions",
        "recent_users",
        "orders",
    ];
    assert_eq!(names, expected);
    assert_eq!(SCHEMA.path(), "fixtures/schema/app.rs");
    assert_eq!(SCHEMA.secret_words(), ["iban"]);

    let users = SCHEMA.table("users").unwrap();
    assert!(users.is_audited());
    assert_eq!(users.resource_type(), Some("users"));
    let Coverage::Audited { model, .. } = users.coverage() else {
        panic!("not audited");
    };
    assert_eq!(model, "models::User<'static>");
    let accounts = SCHEMA.table("auth.accounts").unwrap();
    assert_eq!(
        accounts.resource_type(),
        Some(models::Account::resource_type())
    );
    assert_eq!(accounts.resource_type(), Some("account"));

    let sessions = SCHEMA.table("auth.web_sessions").unwrap();
    assert!(!sessions.is_audited());
    assert_eq!(sessions.resource_type(), None);
    let Coverage::Exempt { reason, .. } = sessions.coverage() else {
        panic!("not exempt");
    };
    assert_eq!(reason, "rows live for minutes");
    assert!(SCHEMA.table("sessions").is_none());
}

#[test]
fn it_prints_a_report() {
    let report = "\
fixtures/schema/app.rs: 2 audited, 3 exempt
  audited  users              models::User<'static>; redacted: api_token, door_pin; skipped: logins; left out: search_vector
  audited  auth.accounts      models::Account; skipped: otp
  exempt   auth.web_sessions  rows live for minutes
  exempt   recent_users       a view
  exempt   orders             not yet
";
    assert_eq!(SCHEMA.to_string(), report);
}

#[test]
fn a_table_under_a_cfg_counts_where_it_is_compiled() {
    assert!(odd::SCHEMA.table("extras").is_none());
    assert_eq!(odd::SCHEMA.tables().len(), 9);
    assert!(odd::SCHEMA.table("billing_old.invoices").is_some());
}

#[test]
fn an_edit_of_a_schema_file_recompiles() {
    // Cargo builds anew when one of the files that the compiler names here has changed.
    let built = std::env::current_exe().unwrap().with_extension("d");
    let sources = fs::read_to_string(built).unwrap();
    for file in [
        "app.rs",
        "odd.rs",
        "odd/auth.rs",
        "odd/auth/deeper/mod.rs",
        "odd/included.rs",
    ] {
        let file = format!("fixtures/schema/{file}");
        assert!(sources.contains(&file), "{file} is not in {sources}");
    }
}
