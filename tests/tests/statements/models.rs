//! Tables beside `accounts`, for what is particular about a table.

use audit_diesel::Auditable;
use diesel::prelude::*;

diesel::table! {
    memberships (org, member) {
        org -> Text,
        member -> Integer,
        role -> Text,
    }
}

#[derive(Debug, Clone, PartialEq, Queryable, Selectable, Identifiable, Insertable, Auditable)]
#[diesel(table_name = memberships, primary_key(org, member))]
pub(crate) struct Membership {
    pub(crate) org: String,
    pub(crate) member: i32,
    pub(crate) role: String,
}

diesel::table! {
    #[sql_name = "order"]
    orders (id) {
        id -> Integer,
        #[sql_name = "type"]
        kind -> Text,
        #[sql_name = "a \" b"]
        quoted -> Text,
    }
}

#[derive(Debug, Clone, PartialEq, Queryable, Selectable, Identifiable, Insertable, Auditable)]
#[diesel(table_name = orders)]
pub(crate) struct Order {
    pub(crate) id: i32,
    #[diesel(column_name = kind)]
    pub(crate) r#type: String,
    pub(crate) quoted: String,
}

diesel::table! {
    audit_old (id) {
        id -> Integer,
        old -> Text,
    }
}

#[derive(Debug, Clone, PartialEq, Queryable, Selectable, Identifiable, Insertable, Auditable)]
#[diesel(table_name = audit_old)]
pub(crate) struct AuditOld {
    pub(crate) id: i32,
    pub(crate) old: String,
}

diesel::table! {
    /// The database lets `name` be NULL.
    misfits (id) {
        id -> Integer,
        name -> Text,
        other -> Integer,
    }
}

#[derive(Debug, Clone, PartialEq, Queryable, Selectable, Identifiable, Auditable)]
#[diesel(table_name = misfits)]
pub(crate) struct Misfit {
    pub(crate) id: i32,
    pub(crate) name: String,
    pub(crate) other: i32,
}

pub(crate) const TABLES: &str = r#"
    CREATE TABLE memberships (org text, member integer, role text, PRIMARY KEY (org, member));
    CREATE TABLE "order" (id integer PRIMARY KEY, "type" text NOT NULL, "a "" b" text NOT NULL);
    CREATE TABLE audit_old (id integer PRIMARY KEY, old text NOT NULL);
    CREATE TABLE misfits (id integer PRIMARY KEY, name text, other integer NOT NULL);
"#;
