//! Input of `audit_schema!` that is none.

use audit_diesel::audit_schema;

mod nothing {
    super::audit_schema! {}
}

mod unknown_key {
    super::audit_schema! {
        schema: "schemas/app.rs" => crate::schema,
        exmept: { users: "r" },
    }
}

mod no_module {
    super::audit_schema! { schema: "schemas/app.rs" }
}

mod no_list {
    super::audit_schema! { schema: "schemas/app.rs" => crate::schema, exempt: [users] }
}

mod secrets {
    super::audit_schema! { schema: "schemas/empty.rs" => crate::schema, secrets: ["iban", " ", "Tax_Number"] }
}

mod key_twice {
    super::audit_schema! {
        schema: "schemas/empty.rs" => crate::schema,
        secrets: [],
        secrets: [],
    }
}

mod no_comma {
    super::audit_schema! {
        schema: "schemas/app.rs" => crate::schema
        exempt: { users: "r" }
    }
}

fn main() {}
