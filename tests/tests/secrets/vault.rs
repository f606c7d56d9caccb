//! A table of which most is secret.

use audit_diesel::{Auditable, audit_schema};
use diesel::prelude::*;

use crate::schema::vaults;

/// Every secret begins so.
pub const SECRET: &str = "m4rker";

/// What is not secret begins so: where it is not found, nothing would be.
pub const PLAIN: &str = "pl4in";

#[derive(Clone, Queryable, Selectable, Identifiable, Insertable, Auditable)]
#[diesel(table_name = vaults)]
pub struct Vault {
    pub id: i32,
    pub name: String,
    #[audit(redact)]
    pub password: String,
    #[audit(redact)]
    pub pin: Option<String>,
    #[audit(redact)]
    pub private_key: Vec<u8>,
    #[audit(redact)]
    pub payer_iban: String,
    #[diesel(embed)]
    pub door: Door,
}

#[derive(Clone, Queryable, Selectable, Insertable, Auditable)]
#[diesel(table_name = vaults)]
#[audit(embedded)]
pub struct Door {
    #[audit(redact)]
    pub door_token: Option<String>,
}

#[derive(Identifiable, AsChangeset)]
#[diesel(table_name = vaults)]
pub struct NewPassword {
    pub id: i32,
    pub password: String,
}

audit_schema! {
    schema: "tests/secrets/schema.rs" => crate::schema,
    audited: { vaults: Vault },
    secrets: ["iban"],
}

impl Vault {
    /// A vault with other secrets than those of another number.
    pub fn new(id: i32, number: usize) -> Self {
        let secret = |what: &str| format!("{SECRET}-{what}-{number}");
        Self {
            id,
            name: format!("{PLAIN}-{id}"),
            password: secret("password"),
            pin: Some(secret("pin")),
            private_key: secret("key").into_bytes(),
            payer_iban: secret("iban"),
            door: Door {
                door_token: Some(secret("door")),
            },
        }
    }
}
