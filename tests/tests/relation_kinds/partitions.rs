//! An update of one row of a partitioned table touches its partition alone.

use audit_diesel::{Auditable, audited};
use audit_tests::app::postgres::{Conn, app};
use diesel::connection::SimpleConnection;
use diesel::dsl::sql;
use diesel::prelude::*;
use diesel::result::QueryResult;
use diesel::sql_types::{BigInt, Integer};

diesel::table! {
    measures (id, day) {
        id -> Integer,
        day -> Integer,
        value -> BigInt,
    }
}

#[derive(Queryable, Selectable, Identifiable, Auditable)]
#[diesel(table_name = measures, primary_key(id, day))]
struct Measure {
    id: i32,
    day: i32,
    value: i64,
}

const PARTITIONS: i32 = 400;

fn locks(conn: &mut Conn) -> i64 {
    let held = "(SELECT count(*) FROM pg_locks WHERE pid = pg_backend_pid() AND locktype = 'relation' \
                 AND relation >= 16384)";
    diesel::select(sql::<BigInt>(held))
        .get_result(conn)
        .unwrap()
}

/// The locks that it holds until its transaction ends.
fn locks_of(conn: &mut Conn, run: impl FnOnce(&mut Conn) -> QueryResult<usize>) -> i64 {
    conn.transaction(|conn| {
        assert_eq!(run(conn), Ok(1));
        QueryResult::Ok(locks(conn))
    })
    .unwrap()
}

#[test]
fn an_update_locks_as_few_partitions_as_plain_diesel() {
    let app = app();
    let conn = &mut app.pool.get().unwrap();
    conn.batch_execute(&format!(
        "CREATE TABLE measures (id int, day int, value bigint NOT NULL, PRIMARY KEY (id, day))
             PARTITION BY LIST (day);
         DO $$ BEGIN FOR day IN 1..{PARTITIONS} LOOP
             EXECUTE format('CREATE TABLE measures_%s PARTITION OF measures FOR VALUES IN (%s)', day, day);
         END LOOP; END $$;
         INSERT INTO measures SELECT 1, day, 0 FROM generate_series(1, {PARTITIONS}) AS day"
    ))
    .unwrap();
    // A prepared statement is planned for its values a few times, and then perhaps for any.
    for day in 1..=8 {
        let plain = locks_of(conn, |conn| {
            diesel::update(measures::table.find((1, day)))
                .set(measures::value.eq(1))
                .execute(conn)
        });
        let of_key = locks_of(conn, |conn| {
            audited::update(measures::table.find((1, day)))
                .set(measures::value.eq(2))
                .execute(conn)
        });
        let filtered = locks_of(conn, |conn| {
            audited::update(measures::table.filter(measures::day.eq(day)))
                .filter(measures::value.gt(1))
                .set(measures::value.eq(3))
                .execute(conn)
        });
        assert!(plain <= 6, "{plain}");
        assert!(of_key <= 2 * plain, "{of_key} locks, plain {plain}");
        assert!(filtered <= 2 * plain, "{filtered} locks, plain {plain}");
    }
    assert_eq!(app.trail().len(), 16);
}

/// It is evaluated once, as in plain Diesel, whatever that costs.
#[test]
fn a_filter_that_answers_otherwise_the_second_time_updates_what_it_named() {
    let app = app();
    let conn = &mut app.pool.get().unwrap();
    conn.batch_execute(
        "CREATE TABLE measures (id int, day int, value bigint NOT NULL, PRIMARY KEY (id, day))
             PARTITION BY LIST (day);
         CREATE TABLE all_days PARTITION OF measures DEFAULT;
         CREATE SEQUENCE calls;
         CREATE FUNCTION next_one() RETURNS int LANGUAGE sql VOLATILE AS
             $$ SELECT nextval('calls')::int $$;
         INSERT INTO measures VALUES (1, 1, 0), (2, 1, 0)",
    )
    .unwrap();
    let once = sql::<Integer>("(SELECT next_one())");
    let count = audited::update(measures::table.filter(measures::id.eq(once)))
        .set(measures::value.eq(5))
        .execute(conn);
    assert_eq!(count, Ok(1));
    let changed = measures::table.filter(measures::value.eq(5));
    assert_eq!(changed.select(measures::id).load::<i32>(conn).unwrap(), [1]);
}
