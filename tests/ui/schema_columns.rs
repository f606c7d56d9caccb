//! Columns that nobody decided about.

#[path = "schema/app.rs"]
mod schema;

use audit_diesel::{Auditable, audit_schema};

#[derive(Auditable)]
#[diesel(table_name = schema::users)]
struct User {
    id: i32,
    tok: String,
    #[diesel(column_name = billing_iban)]
    account: String,
}

#[derive(Auditable)]
#[diesel(table_name = schema::api_keys)]
struct ApiKey {
    id: i32,
}

audit_schema! {
    schema: "schemas/app.rs" => crate::schema,
    audited: { users: User, api_keys: ApiKey },
    exempt: { auth::sessions: "r" },
    secrets: ["iban"],
}

fn main() {}
