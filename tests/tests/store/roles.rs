//! The roles of `docs/roles.md`: its own statements are run, and each role may do what it has to and
//! nothing else.

use std::sync::Arc;

use audit_diesel::{
    AuditContext, Auditor, Consumer, Delivery, MemoryQueue, Payload, Queue, Record,
};
use audit_tests::app::{NewAccount, accounts};
use audit_tests::{LONG, TestDatabase, TestRole, pg_pool, wait_until};
use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use diesel::r2d2::{ConnectionManager, Pool};
use diesel_migrations::MigrationHarness;

const PAGE: &str = include_str!("../../../audit-diesel/docs/roles.md");

/// A database that was set up as the page says.
struct Setup {
    owner: TestRole,
    consumer: TestRole,
    app: TestRole,
    database: TestDatabase,
}

impl Setup {
    fn new() -> Self {
        let database = TestDatabase::new();
        let role = || TestRole::new(&database);
        let setup = Self {
            owner: role(),
            consumer: role(),
            app: role(),
            database,
        };
        let blocks: Vec<_> = PAGE.split("```sql\n").skip(1).collect();
        let [create, once, migrations, rights] = blocks[..] else {
            panic!("the page has {} statements", blocks.len());
        };
        for name in ["audit_owner", "audit_consumer", "app"] {
            assert!(create.contains(&format!("CREATE ROLE {name} ")));
        }
        let mut admin = setup.database.connection();
        admin
            .batch_execute(
                "CREATE TABLE accounts (
                     id serial PRIMARY KEY, email text NOT NULL,
                     role text NOT NULL DEFAULT 'member', balance bigint NOT NULL DEFAULT 0,
                     note text, api_token text NOT NULL DEFAULT '',
                     updated_at timestamp NOT NULL DEFAULT now())",
            )
            .unwrap();
        // Whoever runs the application's migrations makes the list of them.
        admin
            .has_pending_migration(audit_diesel::postgres::MIGRATIONS)
            .unwrap();
        admin.batch_execute(&setup.named(once)).unwrap();
        admin.batch_execute(&setup.named(migrations)).unwrap();
        let grant = "GRANT ALL ON accounts, accounts_id_seq TO app";
        admin.batch_execute(&setup.named(grant)).unwrap();
        PgConnection::establish(&setup.owner.url())
            .unwrap()
            .run_pending_migrations(audit_diesel::postgres::MIGRATIONS)
            .unwrap();
        setup.as_owner(rights);
        setup
    }

    /// A block of the page, with the names of this test's roles.
    fn named(&self, sql: &str) -> String {
        let sql = sql.split("```").next().unwrap_or_default();
        sql.replace("audit_owner", self.owner.name())
            .replace("audit_consumer", self.consumer.name())
            .replace(" app", &format!(" {}", self.app.name()))
    }

    fn as_owner(&self, sql: &str) {
        let mut owner = PgConnection::establish(&self.owner.url()).unwrap();
        owner.batch_execute(&self.named(sql)).unwrap();
    }

    fn consumer(&self, queue: &MemoryQueue) -> Result<Consumer, audit_diesel::ConsumerError> {
        let pool = pg_pool(&self.consumer.url());
        Consumer::builder(Arc::new(queue.clone()), pool).spawn()
    }

    /// The application's pool, in mode `transactional`.
    fn app_pool(&self) -> Pool<ConnectionManager<PgConnection>> {
        let auditor = Auditor::builder().delivery(Delivery::Transactional);
        Pool::builder()
            .max_size(2)
            .connection_customizer(auditor.build().unwrap().customizer())
            .build(ConnectionManager::new(self.app.url()))
            .unwrap()
    }

    fn rows(&self, table: &str) -> i64 {
        let sql = format!("SELECT count(*) FROM {table}");
        diesel::dsl::sql::<diesel::sql_types::BigInt>(&sql)
            .get_result(&mut self.database.connection())
            .unwrap()
    }
}

fn records(count: usize) -> Vec<Payload> {
    let record = || Record::new("login", AuditContext::default());
    (0..count).map(|_| record().encode().unwrap()).collect()
}

/// Neither changes nor removes what is in the trail.
fn cannot_change_the_trail(role: &TestRole) {
    let mut conn = PgConnection::establish(&role.url()).unwrap();
    for statement in [
        "UPDATE audit_logs SET action = 'nothing'",
        "DELETE FROM audit_logs",
        "TRUNCATE audit_logs",
        "DROP TABLE audit_logs",
        "ALTER TABLE audit_logs DISABLE TRIGGER ALL",
        "CREATE TRIGGER t BEFORE INSERT ON audit_logs EXECUTE FUNCTION suppress_redundant_updates_trigger()",
        "UPDATE audit_quarantine SET reason = ''",
        "DELETE FROM audit_quarantine",
        "TRUNCATE audit_quarantine",
    ] {
        let error = conn.batch_execute(statement).unwrap_err().to_string();
        let is_refused = error.contains("permission denied") || error.contains("must be owner");
        assert!(is_refused, "{statement}: {error}");
    }
}

#[test]
fn each_role_of_the_page_can_do_its_work_and_not_change_the_trail() {
    let setup = Setup::new();
    let queue = MemoryQueue::new();
    queue.push(&records(5)).unwrap();
    queue.push(&[Payload::from(b"?".to_vec())]).unwrap();
    let consumer = setup.consumer(&queue).unwrap();
    // Twice: a redelivery is looked for.
    queue.push(&queue.peek(6).unwrap().payloads).unwrap();
    consumer.flush().unwrap();
    assert_eq!(setup.rows("audit_logs"), 5);
    assert_eq!(setup.rows("audit_quarantine"), 1);

    setup.as_owner("GRANT INSERT ON audit_logs TO app");
    let conn = &mut setup.app_pool().get().unwrap();
    let account = NewAccount::new("ada@example.com");
    audit_diesel::audited::insert_into(accounts::table)
        .values(&account)
        .execute(conn)
        .unwrap();
    assert_eq!(setup.rows("audit_logs"), 6);
    for role in [&setup.app, &setup.consumer] {
        cannot_change_the_trail(role);
    }
    assert_eq!(setup.rows("audit_logs"), 6);
}

/// What is taken away, and what has to be named.
const TAKEN: [(&str, &str); 4] = [
    ("SELECT ON audit_logs", "SELECT on audit_logs"),
    ("INSERT ON audit_logs", "INSERT on audit_logs"),
    ("INSERT ON audit_quarantine", "INSERT on audit_quarantine"),
    ("USAGE ON SCHEMA public", "USAGE on SCHEMA public"),
];

fn take(setup: &Setup, right: &str) {
    let sql = format!("REVOKE {right} FROM audit_consumer, PUBLIC");
    let mut admin = setup.database.connection();
    admin.batch_execute(&setup.named(&sql)).unwrap();
}

#[test]
fn a_right_that_is_missing_at_the_start_is_named() {
    for (right, named) in TAKEN {
        let setup = Setup::new();
        take(&setup, right);
        let error = setup.consumer(&MemoryQueue::new()).unwrap_err().to_string();
        let role = setup.consumer.name();
        assert!(
            error.contains(&format!("the role `{role}` needs {named}")),
            "{error}"
        );
        assert!(!error.contains("migrations"), "{error}");
    }
}

#[test]
fn a_right_that_is_taken_away_later_is_named_and_nothing_is_lost() {
    for (right, named) in TAKEN {
        let setup = Setup::new();
        let queue = MemoryQueue::new();
        let consumer = setup.consumer(&queue).unwrap();
        consumer.flush().unwrap();
        take(&setup, right);
        let all = [records(3), vec![Payload::from(b"?".to_vec())]].concat();
        // A redelivered one, so that each right is needed.
        queue.push(&[&all[..], &all[..1]].concat()).unwrap();
        let named = format!("needs {named}");
        wait_until(&named, LONG, || {
            let _ = consumer.flush_within(std::time::Duration::from_millis(100));
            let said = consumer.stats().last_error.unwrap_or_default();
            said.contains(&named)
        });
        let warnings = consumer.warnings();
        assert!(
            warnings.iter().any(|it| it.problem.contains(&named)),
            "{warnings:?}"
        );
        let mut admin = setup.database.connection();
        admin
            .batch_execute(&setup.named(&format!("GRANT {right} TO audit_consumer")))
            .unwrap();
        consumer.flush_within(LONG).unwrap();
        assert_eq!(setup.rows("audit_logs"), 3);
        assert_eq!(setup.rows("audit_quarantine"), 1);
    }
}

#[test]
fn a_right_that_mode_transactional_misses_is_named() {
    let setup = Setup::new();
    let conn = &mut setup.app_pool().get().unwrap();
    let account = NewAccount::new("ada@example.com");
    let insert = audit_diesel::audited::insert_into(accounts::table).values(&account);
    let error = insert.execute(conn).unwrap_err().to_string();
    assert!(error.contains("needs INSERT on `audit_logs`"), "{error}");
    assert!(!error.contains("migrations"), "{error}");
    assert_eq!(setup.rows("accounts"), 0);
}
