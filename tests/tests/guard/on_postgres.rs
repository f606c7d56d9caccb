use audit_diesel::testing::TestAudit;
use audit_diesel::{Auditor, GuardMode};
use audit_tests::app::accounts;
use audit_tests::app::postgres::*;
use diesel::connection::SimpleConnection;
use diesel::prelude::*;

use crate::corpus::{Case, POSTGRES};

#[path = "cases.rs"]
mod cases;

/// PostgreSQL's texts are those that are tried on both.
const WRITES_HERE: &[(&str, &str)] = &[];

const INSERT_HERE: &str = r#"INSERT INTO "accounts" ("email", "api_token") VALUES ($1, $2)"#;

/// The corpus, as far as any version of PostgreSQL knows it.
fn corpus() -> impl Iterator<Item = Case> {
    POSTGRES.iter().flat_map(|(_, cases)| cases.iter().copied())
}

/// What PostgreSQL says where it cannot parse a text. A function is parsed, and not run.
fn fails_to_parse(conn: &mut Conn, sql: &str) -> Option<String> {
    let version = diesel::dsl::sql::<diesel::sql_types::Integer>(
        "current_setting('server_version_num')::int",
    );
    let version: i32 = diesel::select(version).get_result(conn).unwrap();
    let is_of = |(since, cases): &&(u32, &[Case])| {
        cases.iter().any(|(text, _)| *text == sql)
            && i64::from(*since) > i64::from(version / 10_000)
    };
    if POSTGRES.iter().any(|group| is_of(&group)) {
        return None;
    }
    let function = format!(
        "CREATE FUNCTION pg_temp.corpus() RETURNS void LANGUAGE sql AS $corpus$ {sql} $corpus$"
    );
    let error = conn.batch_execute(&function).err()?.to_string();
    error
        .starts_with("syntax error")
        .then(|| format!("{sql}: {error}"))
}

/// A connection without an auditor.
fn connect(app: &App) -> Conn {
    app.guard.connection()
}

/// The trace that a write leaves, where it is done.
fn trace(app: &App, write: impl FnOnce(&mut Conn) -> QueryResult<()>) -> Vec<String> {
    let settings = Auditor::builder().guard(["accounts"]);
    let audit = TestAudit::of(settings.guard_mode(GuardMode::Record));
    let mut conn = connect(app);
    audit.auditor().attach(&mut conn);
    write(&mut conn).unwrap();
    let records = audit.committed();
    records
        .iter()
        .map(|record| {
            assert_eq!(record.action, "unaudited_write");
            assert_eq!(record.resource_type.as_deref(), Some("accounts"));
            record.extra["verb"].as_str().unwrap().to_owned()
        })
        .collect()
}

#[test]
fn what_the_server_does_leaves_a_trace() {
    let app = app();
    for (sql, verb) in [
        ("INSERT INTO accounts (email) VALUES ('a'), ('b')", "INSERT"),
        (
            "WITH x AS (UPDATE accounts SET balance = 1 RETURNING id) SELECT count(*) FROM x",
            "UPDATE",
        ),
        (
            "MERGE INTO accounts USING (SELECT 'a' AS e) s ON accounts.email = s.e \
             WHEN MATCHED THEN UPDATE SET balance = 2",
            "MERGE",
        ),
        ("EXPLAIN ANALYZE UPDATE accounts SET balance = 3", "UPDATE"),
        (
            "DO $$ BEGIN UPDATE accounts SET balance = 4; END $$",
            "UPDATE",
        ),
        (
            "CREATE TABLE gone AS \
             WITH x AS (DELETE FROM accounts WHERE email = 'b' RETURNING *) SELECT * FROM x",
            "DELETE",
        ),
        ("TRUNCATE public.accounts", "TRUNCATE"),
    ] {
        let traces = trace(&app, |conn| conn.batch_execute(sql));
        assert_eq!(traces, [verb], "{sql}");
    }
    for explained in [
        "EXPLAIN (ANALYZE false) DELETE FROM accounts",
        "EXPLAIN (FORMAT JSON, COSTS off) DELETE FROM accounts",
    ] {
        let traces = trace(&app, |conn| conn.batch_execute(explained));
        assert_eq!(traces, [""; 0]);
    }
    let left: i64 = accounts::table
        .count()
        .get_result(&mut connect(&app))
        .unwrap();
    assert_eq!(left, 0);
}

#[test]
fn a_copy_leaves_a_trace() {
    let app = app();
    let traces = trace(&app, |conn| {
        diesel::copy_from(accounts::table)
            .from_raw_data((accounts::email, accounts::api_token), |data| {
                data.write_all(b"a\tt\nb\tt\n").unwrap();
                diesel::QueryResult::Ok(())
            })
            .execute(conn)
            .map(drop)
    });
    assert_eq!(traces, ["COPY"]);
    let copied: i64 = accounts::table
        .count()
        .get_result(&mut connect(&app))
        .unwrap();
    assert_eq!(copied, 2);
    let reading = trace(&app, |conn| {
        let rows = diesel::copy_to(accounts::table);
        rows.load_raw(conn).map(drop)
    });
    assert_eq!(reading, [""; 0]);
}

mod moods {
    use diesel::pg::{Pg, PgValue};
    use diesel::serialize::{IsNull, Output, ToSql};
    use std::io::Write;

    #[derive(diesel::sql_types::SqlType)]
    #[diesel(postgres_type(name = "mood"))]
    pub struct MoodType;

    #[derive(Debug, diesel::expression::AsExpression, diesel::deserialize::FromSqlRow)]
    #[diesel(sql_type = MoodType)]
    pub struct Fine;

    impl ToSql<MoodType, Pg> for Fine {
        fn to_sql(&self, out: &mut Output<'_, '_, Pg>) -> diesel::serialize::Result {
            out.write_all(b"fine")?;
            Ok(IsNull::No)
        }
    }

    impl diesel::deserialize::FromSql<MoodType, Pg> for Fine {
        fn from_sql(_: PgValue<'_>) -> diesel::deserialize::Result<Self> {
            Ok(Self)
        }
    }

    diesel::table! {
        use super::MoodType;
        use diesel::sql_types::Integer;

        accounts (id) {
            id -> Integer,
            mood -> MoodType,
        }
    }
}

/// Diesel looks a type of the application up before it sends the first query that has one.
#[test]
fn a_write_whose_types_are_looked_up_leaves_a_trace() {
    use moods::{Fine, accounts};

    let app = app();
    let mut conn = connect(&app);
    conn.batch_execute(
        "CREATE TYPE mood AS ENUM ('fine');
         ALTER TABLE accounts ADD mood mood",
    )
    .unwrap();
    let update = || diesel::update(accounts::table).set(accounts::mood.eq(Fine));
    let traces = trace(&app, |conn| update().execute(conn).map(drop));
    assert_eq!(traces, ["UPDATE"]);

    let audit = TestAudit::attached_to(&mut conn);
    audit_diesel::exempt(&mut conn, "a block", |conn| update().execute(conn)).unwrap();
    assert_eq!(audit.committed()[0].extra["statements"], 1);
}
