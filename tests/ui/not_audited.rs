//! A table that has no model.

use audit_diesel::{AuditedBy, AuditedModel};

diesel::table! { users (id) { id -> Integer } }
diesel::table! { orders (id) { id -> Integer } }

fn write<T: AuditedBy<M>, M: AuditedModel<Table = T>>(_: T) {}

fn main() {
    write(users::table);
}
