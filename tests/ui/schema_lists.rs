//! What the lists of `audit_schema!` get wrong about the tables.

#[path = "schema/app.rs"]
mod schema;

use audit_diesel::{Auditable, audit_schema};

#[derive(Auditable)]
#[diesel(table_name = schema::api_keys)]
struct ApiKey {
    id: i32,
}

mod neither {
    super::audit_schema! {
        schema: "schemas/app.rs" => crate::schema,
        audited: { api_keys: super::ApiKey },
    }

    /// `SCHEMA` is there all the same.
    pub fn report() -> String {
        SCHEMA.to_string()
    }
}

mod unknown {
    super::audit_schema! {
        schema: "schemas/app.rs" => crate::schema,
        audited: { api_key: super::ApiKey },
        exempt: {
            usres: "a typing mistake",
            sessions: "the module is missing",
            something_else: "gone",
        },
    }
}

mod by_sql_name {
    super::audit_schema! {
        schema: "schemas/app.rs" => crate::schema,
        exempt: { users: "r", api_keys: "r", auth::web_sessions: "its name in SQL" },
    }
}

mod twice {
    super::audit_schema! {
        schema: "schemas/app.rs" => crate::schema,
        audited: { api_keys: super::ApiKey },
        exempt: { users: "r", auth::sessions: "r", users: "again", api_keys: "in both" },
    }
}

mod without_value {
    super::audit_schema! {
        schema: "schemas/app.rs" => crate::schema,
        audited: { api_keys },
        exempt: { users, auth::sessions: " " },
    }
}

mod wrong_value {
    super::audit_schema! {
        schema: "schemas/app.rs" => crate::schema,
        audited: { api_keys: "ApiKey" },
        exempt: { users: User, auth::sessions: NOT_YET },
    }
}

mod many {
    super::audit_schema! {
        schema: "schemas/many.rs" => crate::many,
        audited: { not_named: super::ApiKey },
    }
}

fn main() {}
