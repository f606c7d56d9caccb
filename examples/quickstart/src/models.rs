use audit_diesel::{Auditable, audit_schema};
use chrono::NaiveDateTime;
use diesel::prelude::*;

use crate::schema::quickstart_users;

#[derive(Debug, Queryable, Selectable, Identifiable, Auditable)]
#[diesel(table_name = quickstart_users)]
#[audit(resource = "users")]
pub(crate) struct User {
    pub(crate) id: i32,
    pub(crate) email: String,
    pub(crate) role: String,
    #[audit(redact)]
    pub(crate) api_token: String,
    pub(crate) updated_at: NaiveDateTime,
}

#[derive(Insertable)]
#[diesel(table_name = quickstart_users)]
pub(crate) struct NewUser<'a> {
    pub(crate) email: &'a str,
    pub(crate) api_token: &'a str,
}

// A table that is added to the schema does not compile until it stands here.
audit_schema! {
    schema: "src/schema.rs" => crate::schema,
    audited: { quickstart_users: User },
}
