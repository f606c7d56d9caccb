//! Models that are none, and models of another table.

#[path = "schema/app.rs"]
mod schema;

use audit_diesel::{Auditable, audit_schema};

struct User {
    id: i32,
}

#[derive(Auditable)]
#[diesel(table_name = schema::api_keys)]
struct ApiKey {
    id: i32,
}

audit_schema! {
    schema: "schemas/app.rs" => crate::schema,
    audited: { users: User, api_keys: ApiKey, auth::sessions: ApiKey },
}

fn main() {}
