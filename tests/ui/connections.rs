//! Connections that audited statements do not run on.

use audit_diesel::{Auditable, audited};
use diesel::prelude::*;

diesel::table! { users (id) { id -> Integer, name -> Text } }

#[derive(Queryable, Auditable)]
#[diesel(table_name = users)]
struct User {
    id: i32,
    name: String,
}

#[derive(diesel::MultiConnection)]
enum AnyConnection {
    Postgres(PgConnection),
    Sqlite(SqliteConnection),
}

fn on_one_of_several(conn: &mut AnyConnection) {
    let _ = audited::update(users::table.find(1)).set(users::name.eq("a")).execute(conn);
    let _ = audited::delete(users::table.find(1)).get_results::<User>(conn);
    let _ = audited::insert_into(users::table).values(users::name.eq("a")).execute(conn);
}

fn on_any<C: Connection>(conn: &mut C) {
    let _ = audited::delete(users::table.find(1)).execute(conn);
}

/// What diesel_async asks for.
mod like_diesel_async {
    use diesel::pg::Pg;
    use diesel::query_builder::{AsQuery, QueryFragment, QueryId};

    pub struct AsyncPgConnection;

    pub trait ExecuteDsl<Conn> {}
    impl<T: QueryFragment<Pg> + QueryId> ExecuteDsl<AsyncPgConnection> for T {}

    pub trait LoadQuery<Conn> {}
    impl<T> LoadQuery<AsyncPgConnection> for T
    where
        T: AsQuery,
        T::Query: QueryFragment<Pg> + QueryId,
    {
    }

    pub trait RunQueryDsl<Conn>: Sized {
        fn execute(self, _: &mut Conn)
        where
            Self: ExecuteDsl<Conn>,
        {
        }

        fn load(self, _: &mut Conn)
        where
            Self: LoadQuery<Conn>,
        {
        }
    }

    impl<T, Conn> RunQueryDsl<Conn> for T {}
}

mod asynchronously {
    use super::like_diesel_async::{AsyncPgConnection, RunQueryDsl};
    use super::users;
    use audit_diesel::audited;
    use diesel::{ExpressionMethods, QueryDsl};

    fn with_diesel_async(conn: &mut AsyncPgConnection) {
        audited::update(users::table.find(1)).set(users::name.eq("a")).execute(conn);
        audited::insert_into(users::table).values(users::name.eq("a")).load(conn);
    }
}

fn on_postgres(conn: &mut PgConnection) {
    let insert = audited::insert_or_ignore_into(users::table);
    let _ = insert.values(users::name.eq("a")).execute(conn);
}

fn main() {}
