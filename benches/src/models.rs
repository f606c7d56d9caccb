//! The application that is measured.

use audit_diesel::{Actor, AuditContext, Auditable, Source};
use chrono::{DateTime, NaiveDateTime};
use diesel::prelude::*;

diesel::table! {
    accounts (id) {
        id -> BigInt,
        email -> Text,
        name -> Text,
        role -> Text,
        plan -> Text,
        balance -> BigInt,
        note -> Nullable<Text>,
        api_token -> Text,
        login_count -> Integer,
        updated_at -> Timestamp,
    }
}

#[derive(
    Debug, Clone, PartialEq, Queryable, Selectable, Identifiable, Auditable, serde::Serialize,
)]
#[diesel(table_name = accounts)]
pub(crate) struct Account {
    pub(crate) id: i64,
    pub(crate) email: String,
    pub(crate) name: String,
    pub(crate) role: String,
    pub(crate) plan: String,
    pub(crate) balance: i64,
    pub(crate) note: Option<String>,
    #[audit(redact)]
    pub(crate) api_token: String,
    pub(crate) login_count: i32,
    pub(crate) updated_at: NaiveDateTime,
}

#[derive(Debug, Clone, Insertable)]
#[diesel(table_name = accounts)]
pub(crate) struct NewAccount<'a> {
    pub(crate) email: &'a str,
    pub(crate) name: &'a str,
    pub(crate) role: &'a str,
    pub(crate) plan: &'a str,
    pub(crate) balance: i64,
    pub(crate) note: Option<&'a str>,
    pub(crate) api_token: &'a str,
    pub(crate) login_count: i32,
    pub(crate) updated_at: NaiveDateTime,
}

impl NewAccount<'_> {
    pub(crate) fn new() -> Self {
        Self {
            email: "ada@example.com",
            name: "Ada Lovelace",
            role: "member",
            plan: "free",
            balance: 100,
            note: None,
            api_token: "c4ca4238a0b923820dcc509a6f75849b",
            login_count: 0,
            updated_at: DateTime::UNIX_EPOCH.naive_utc(),
        }
    }
}

/// A row in memory.
pub(crate) fn account() -> Account {
    Account {
        id: 4711,
        email: "user4711@example.com".into(),
        name: "User Number 4711".into(),
        role: "member".into(),
        plan: "free".into(),
        balance: 471_100,
        note: Some("a remark of moderate length about this account".into()),
        api_token: "c4ca4238a0b923820dcc509a6f75849b".into(),
        login_count: 11,
        updated_at: DateTime::UNIX_EPOCH.naive_utc(),
    }
}

/// What a web application knows about a request: what a trigger gets in a session variable.
pub(crate) fn context() -> AuditContext {
    AuditContext::new(Actor::user("42"))
        .organization("acme")
        .project("p1")
        .ip([192, 0, 2, 7])
        .source(Source::Api)
        .api_key_id("k9")
        .oauth_client_id("c3")
        .request_id("req-4711")
}

/// The same for a trigger.
pub(crate) const TRIGGER_CONTEXT: &str = "acme#42#p1#192.0.2.7#api#k9#c3";
