//! Only a struct with fields is a row.

use audit_diesel::Auditable;

#[derive(Auditable)]
enum Role {
    Admin,
}

#[derive(Auditable)]
union Either {
    a: i32,
    b: u32,
}

#[derive(Auditable)]
struct Unit;

fn main() {}
