//! One mistake gives one message, though the model is used all over.

use audit_diesel::{Auditable, AuditedBy, AuditedColumns, AuditedModel};

diesel::table! { users (id) { id -> Integer, name -> Text } }
diesel::table! { plain (id) { id -> Integer } }

#[derive(Auditable)]
#[diesel(table_name = users)]
struct User {
    id: i32,
    #[audit(redacted)]
    name: String,
}

fn write<T: AuditedBy<M>, M: AuditedModel<Table = T>>(_: T) {
    let _ = M::COLUMNS;
}

fn main() {
    write(users::table);
    let _ = User::COLUMNS;
    let user = User { id: 1, name: String::new() };
    let _ = (user.resource_id(), User::resource_type());
}
