//! Schema files that cannot be read.

use audit_diesel::audit_schema;

mod missing {
    super::audit_schema! {
        schema: "src/shcema.rs" => crate::schema,
        exempt: { users: "not reported, as nobody knows the tables" },
    }
}

mod folder {
    super::audit_schema! { schema: "schemas" => crate::schema }
}

mod not_a_table {
    super::audit_schema! { schema: "schemas/not_a_table.rs" => crate::schema }
}

mod hidden {
    super::audit_schema! { schema: "schemas/hidden.rs" => crate::schema }
}

fn main() {}
