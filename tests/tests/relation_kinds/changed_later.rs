//! What another session puts in the way of a write, or takes for the table, while a pooled connection
//! lives that knows the table well.

use audit_diesel::{AuditError, Auditable, audited};
use diesel::prelude::*;
use diesel::result::{Error, QueryResult};

diesel::table! { items (id) { id -> Integer, tenant -> Integer, role -> Text } }

#[derive(Debug, Clone, PartialEq, Queryable, Selectable, Auditable)]
#[diesel(table_name = items)]
struct Item {
    id: i32,
    tenant: i32,
    role: String,
}

fn is_refused(result: &QueryResult<usize>) -> bool {
    let Err(Error::QueryBuilderError(error)) = result else {
        return false;
    };
    matches!(
        error.downcast_ref(),
        Some(AuditError::NotReturned { .. } | AuditError::KeyNotUnique { .. })
    )
}

mod on_postgres {
    use audit_tests::app::line;
    use audit_tests::app::postgres::{App, Conn, app};
    use diesel::connection::SimpleConnection;

    use super::*;

    const TABLE: &str =
        "CREATE TABLE items (id int PRIMARY KEY, tenant int NOT NULL, role text NOT NULL);
        INSERT INTO items VALUES (1, 1, 'a'), (2, 2, 'b')";

    /// The application, and a connection that has written the table in each way.
    fn warm() -> (App, Conn) {
        let app = app();
        app.guard.connection().batch_execute(TABLE).unwrap();
        let mut connection = app.guard.connection();
        let conn = &mut connection;
        app.auditor.attach(conn);
        for id in 10..13 {
            assert_eq!(insert(conn, &[id]), Ok(1));
            assert_eq!(select_into(conn, id + 50), Ok(1));
            assert_eq!(skip(conn, id + 100), Ok(1));
        }
        let taken = app.queue_emptied();
        assert_eq!(taken, 9);
        (app, connection)
    }

    trait Emptied {
        fn queue_emptied(&self) -> usize;
    }

    impl Emptied for App {
        fn queue_emptied(&self) -> usize {
            use audit_diesel::Queue;
            let all = self.queue.peek(usize::MAX).unwrap();
            self.queue.ack(&all).unwrap()
        }
    }

    fn insert(conn: &mut Conn, ids: &[i32]) -> QueryResult<usize> {
        let rows: Vec<_> = ids
            .iter()
            .map(|id| {
                (
                    items::id.eq(*id),
                    items::tenant.eq(1),
                    items::role.eq("new"),
                )
            })
            .collect();
        audited::insert_into(items::table)
            .values(rows)
            .execute(conn)
    }

    fn skip(conn: &mut Conn, id: i32) -> QueryResult<usize> {
        audited::insert_into(items::table)
            .values((items::id.eq(id), items::tenant.eq(1), items::role.eq("new")))
            .on_conflict(items::id)
            .do_nothing()
            .execute(conn)
    }

    fn skip_of(conn: &mut Conn, ids: &[i32]) -> QueryResult<usize> {
        let row = |id: &i32| {
            (
                items::id.eq(*id),
                items::tenant.eq(1),
                items::role.eq("new"),
            )
        };
        audited::insert_into(items::table)
            .values(ids.iter().map(row).collect::<Vec<_>>())
            .on_conflict(items::id)
            .do_nothing()
            .execute(conn)
    }

    fn select_into(conn: &mut Conn, id: i32) -> QueryResult<usize> {
        let copied = items::table.filter(items::id.eq(1));
        audited::insert_into(items::table)
            .values(copied.select((
                id.into_sql::<diesel::sql_types::Integer>(),
                items::tenant,
                items::role,
            )))
            .into_columns((items::id, items::tenant, items::role))
            .execute(conn)
    }

    const ROUTED: &str = "CREATE TABLE heirs () INHERITS (items);
        CREATE FUNCTION route() RETURNS trigger LANGUAGE plpgsql AS
            $$ BEGIN
                IF NEW.id % 2 = 1 THEN RETURN NEW; END IF;
                INSERT INTO heirs VALUES (NEW.*); RETURN NULL;
            END $$;
        CREATE TRIGGER t BEFORE INSERT ON items FOR EACH ROW EXECUTE FUNCTION route()";

    #[test]
    fn an_insert_that_a_new_trigger_routes_leaves_a_trace_and_the_next_is_refused() {
        type Insert = fn(&mut Conn) -> QueryResult<usize>;
        let inserts: [(Insert, usize); 3] = [
            (|conn| insert(conn, &[20]), 0),
            (|conn| insert(conn, &[20, 21]), 1),
            (|conn| skip(conn, 20), 0),
        ];
        for (routed, count) in inserts {
            let (app, mut conn) = warm();
            let conn = &mut conn;
            app.guard.connection().batch_execute(ROUTED).unwrap();
            assert_eq!(routed(conn), Ok(count), "as plain Diesel counts");
            let trail: Vec<_> = app.records().iter().map(line).collect();
            assert!(
                trail
                    .iter()
                    .any(|it| it.starts_with("unaudited_write items")),
                "{trail:?}"
            );
            assert_eq!(trail.len(), count + 1, "{trail:?}");
            assert!(is_refused(&insert(conn, &[30])));
        }
    }

    #[test]
    fn a_skipped_row_leaves_no_trace() {
        let (app, mut conn) = warm();
        assert_eq!(skip(&mut conn, 1), Ok(0));
        assert_eq!(app.trail().len(), 0);
    }

    /// How many rows it writes nobody knows before.
    #[test]
    fn an_insert_from_a_select_that_a_new_trigger_would_route_is_refused() {
        let (app, mut conn) = warm();
        app.guard.connection().batch_execute(ROUTED).unwrap();
        let conn = &mut conn;
        assert!(is_refused(&select_into(conn, 20)));
        assert!(is_refused(&skip_of(conn, &[10, 20])));
        let heirs = diesel::sql_query("SELECT * FROM heirs").execute(conn);
        assert_eq!(heirs, Ok(0));
        assert_eq!(app.trail().len(), 0);
    }

    #[test]
    fn a_new_rule_lets_nothing_be_written_without_a_record() {
        for event in ["INSERT", "UPDATE", "DELETE"] {
            let (app, mut conn) = warm();
            let conn = &mut conn;
            assert_eq!(update(conn), Ok(1));
            let other = &mut app.guard.connection();
            other
                .batch_execute(&format!(
                    "CREATE TABLE elsewhere (event text);
                     CREATE RULE r AS ON {event} TO items DO INSTEAD INSERT INTO elsewhere VALUES ('{event}')"
                ))
                .unwrap();
            app.queue_emptied();
            let rows = || {
                items::table
                    .count()
                    .get_result::<i64>(&mut app.guard.connection())
                    .unwrap()
            };
            let before = rows();
            let result = match event {
                "INSERT" => insert(conn, &[20]),
                "UPDATE" => update(conn),
                _ => audited::delete(items::table.find(1)).execute(conn),
            };
            assert!(result.is_err(), "{event}: {result:?}");
            let elsewhere = diesel::sql_query("SELECT * FROM elsewhere").execute(other);
            assert_eq!((elsewhere, rows()), (Ok(0), before), "{event}");
            assert_eq!(app.trail().len(), 0, "{event}");
        }
    }

    fn update(conn: &mut Conn) -> QueryResult<usize> {
        audited::update(items::table.find(1))
            .set(items::role.eq("set"))
            .execute(conn)
    }

    /// RETURNING would leave out the rows that the policy for SELECT hides, and plain Diesel writes them.
    #[test]
    fn a_new_policy_lets_no_row_be_passed_over() {
        let (app, mut conn) = warm();
        let conn = &mut conn;
        let delete_all = |conn: &mut Conn| audited::delete(items::table).execute(conn);
        let update_all = |conn: &mut Conn| {
            audited::update(items::table)
                .set(items::role.eq("all"))
                .execute(conn)
        };
        conn.batch_execute(
            "DO $$ BEGIN CREATE ROLE audit_test_tenant; EXCEPTION WHEN OTHERS THEN NULL; END $$;
             GRANT ALL ON items TO audit_test_tenant; SET ROLE audit_test_tenant",
        )
        .unwrap();
        let known = update_all(conn).unwrap();
        let undone = conn.transaction(|conn| {
            assert_eq!(delete_all(conn), Ok(known));
            Err::<(), _>(Error::RollbackTransaction)
        });
        assert!(undone.is_err());
        app.queue_emptied();
        let other = &mut app.guard.connection();
        other
            .batch_execute(
                "ALTER TABLE items ENABLE ROW LEVEL SECURITY;
                 CREATE POLICY seen ON items FOR SELECT USING (tenant = 1);
                 CREATE POLICY set ON items FOR UPDATE USING (true);
                 CREATE POLICY gone ON items FOR DELETE USING (true)",
            )
            .unwrap();
        assert!(is_refused(&update_all(conn)));
        assert!(is_refused(&delete_all(conn)));
        assert_eq!(app.trail().len(), 0);
        let rows: i64 = items::table.count().get_result(other).unwrap();
        assert_eq!(rows as usize, known);
        other
            .batch_execute("ALTER TABLE items DISABLE ROW LEVEL SECURITY")
            .unwrap();
        assert_eq!(delete_all(conn), Ok(known));
    }
}

mod on_sqlite {
    use audit_tests::app::sqlite::{App, Conn, app};
    use diesel::connection::SimpleConnection;

    use super::*;

    type Write = fn(&mut Conn) -> QueryResult<usize>;

    const WRITES: [(&str, Write); 3] = [
        ("insert", |conn| {
            audited::insert_into(items::table)
                .values((items::tenant.eq(1), items::role.eq("new")))
                .execute(conn)
        }),
        ("update", |conn| {
            audited::update(items::table.filter(items::role.eq("a")))
                .set(items::tenant.eq(items::tenant + 1))
                .execute(conn)
        }),
        ("delete", |conn| {
            audited::delete(items::table.filter(items::role.eq("gone"))).execute(conn)
        }),
    ];

    fn warm() -> App {
        let app = app();
        let conn = &mut app.pool.get().unwrap();
        conn.batch_execute(
            "CREATE TABLE items (id integer NOT NULL PRIMARY KEY, tenant int NOT NULL, role text NOT NULL);
             INSERT INTO items VALUES (1, 1, 'a')",
        )
        .unwrap();
        app
    }

    #[test]
    fn what_stands_in_the_tables_place_is_looked_at_anew() {
        const VIEW: &str =
            "ALTER TABLE items RENAME TO base; CREATE VIEW items AS SELECT * FROM base;
            CREATE TRIGGER i INSTEAD OF UPDATE ON items BEGIN
                UPDATE base SET tenant = NEW.tenant WHERE id = OLD.id; END;";
        const VIRTUAL: &str =
            "DROP TABLE items; CREATE VIRTUAL TABLE items USING fts5(id, tenant, role);";
        for (what, refused) in [
            (VIEW, &["update"][..]),
            (VIRTUAL, &["insert", "update", "delete"]),
        ] {
            for in_transaction in [false, true] {
                let app = warm();
                let conn = &mut app.pool.get().unwrap();
                for (_, write) in WRITES {
                    write(conn).unwrap();
                    write(conn).unwrap();
                }
                let known = app.trail().len();
                app.pool.get().unwrap().batch_execute(what).unwrap();
                for (name, write) in WRITES.iter().filter(|(name, _)| refused.contains(name)) {
                    let result = match in_transaction {
                        true => conn.transaction(|conn| write(conn)),
                        false => write(conn),
                    };
                    assert!(is_refused(&result), "{name}: {result:?}");
                }
                assert_eq!(app.trail().len(), known);
            }
        }
    }
}
