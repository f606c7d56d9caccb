//! One mistake gives one message, though the model is used all over.

use audit_diesel::{Auditable, AuditedBy, AuditedColumns, AuditedModel, audited};
use diesel::pg::PgConnection;
use diesel::prelude::*;

diesel::table! { users (id) { id -> Integer, name -> Text } }
diesel::table! { titles (id) { id -> Integer, title -> Text } }

#[derive(Auditable)]
#[diesel(table_name = users)]
struct User {
    id: i32,
    #[audit(redacted)]
    name: String,
}

#[derive(Queryable, Selectable, Auditable)]
struct Title {
    id: i32,
    #[diesel(select_expression = titles::title.concat("!"))]
    title: String,
}

fn write<T: AuditedBy<M>, M: AuditedModel<Table = T>>(_: T) {
    let _ = M::COLUMNS;
}

fn statements(conn: &mut PgConnection) -> QueryResult<()> {
    audited::insert_into(users::table).values(users::name.eq("a")).execute(conn)?;
    audited::update(users::table.find(1)).set(users::name.eq("a")).execute(conn)?;
    audited::delete(users::table.find(1)).execute(conn)?;
    audited::insert_into(titles::table).values(titles::title.eq("a")).execute(conn)?;
    audited::update(titles::table.find(1)).set(titles::title.eq("a")).execute(conn)?;
    audited::delete(titles::table.find(1)).execute(conn)?;
    let returned = audited::update(titles::table.find(1)).set(titles::title.eq("a"));
    let _: Title = returned.returning(Title::as_returning()).get_result(conn)?;
    Ok(())
}

fn main() {
    write(users::table);
    let _ = User::COLUMNS;
    let user = User { id: 1, name: String::new() };
    let _ = (user.resource_id(), User::resource_type());
    write(titles::table);
}
