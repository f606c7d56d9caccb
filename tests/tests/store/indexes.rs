//! The three questions use their indexes on PostgreSQL.

use audit_diesel::Actor;
use audit_diesel::postgres::{AuditLogQuery, by_actor, history, in_organization_since};
use audit_tests::app::postgres::app;
use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use diesel::sql_types::Text;

#[derive(QueryableByName)]
struct Line {
    #[diesel(sql_type = Text, column_name = "QUERY PLAN")]
    line: String,
}

#[test]
fn each_question_uses_its_index() {
    let app = app();
    let conn = &mut app.pool.get().unwrap();
    // Rows enough, of many kinds, for the planner to choose on its own.
    conn.batch_execute(
        "INSERT INTO audit_logs (id, occurred_at, action, resource_type, resource_id, outcome,
                                 actor_type, actor_id, organization)
         SELECT gen_random_uuid(), now() - n * interval '1 minute', 'update', 't' || n % 5,
                (n % 1000)::text, 'success', 'user', (n % 500)::text, 'o' || n % 300
         FROM generate_series(1, 20000) AS n;
         ANALYZE audit_logs;",
    )
    .unwrap();
    let mut plan = |query: AuditLogQuery<'_>| {
        let sql = diesel::debug_query::<diesel::pg::Pg, _>(&query).to_string();
        explain(conn, &sql)
    };
    let since = chrono::Utc::now() - chrono::TimeDelta::days(1);
    for (query, index) in [
        (history("t1", 1), "audit_logs_resource"),
        (by_actor(&Actor::user("7")), "audit_logs_actor"),
        (
            in_organization_since("o7", since),
            "audit_logs_organization",
        ),
    ] {
        let plan = plan(query);
        assert!(plan.contains(index) && !plan.contains("Seq Scan"), "{plan}");
    }
}

/// Explains a query as Diesel shows it, which is SQL with the bound values behind it.
fn explain(conn: &mut PgConnection, shown: &str) -> String {
    let (sql, binds) = shown.split_once(" -- binds: ").unwrap();
    let binds: Vec<_> = binds.trim_matches(['[', ']']).split(", ").collect();
    let mut sql = format!("EXPLAIN {sql}");
    for (number, bind) in binds.iter().enumerate().rev() {
        let value = format!("'{}'", bind.trim_matches('"'));
        sql = sql.replace(&format!("${}", number + 1), &value);
    }
    let lines: Vec<Line> = diesel::sql_query(sql).load(conn).unwrap();
    lines.into_iter().map(|line| line.line + "\n").collect()
}
