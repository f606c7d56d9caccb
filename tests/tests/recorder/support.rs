//! What the cases say in few words.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use audit_diesel::{MemoryQueue, Record};
use diesel::connection::{Instrumentation, InstrumentationEvent};
use serde_json::Value;

/// An audited insert.
macro_rules! add {
    ($conn:expr, $email:expr) => {
        audit_diesel::audited::insert_into(audit_tests::app::accounts::table)
            .values(audit_tests::app::NewAccount::new($email))
            .execute($conn)
            .unwrap()
    };
}

/// The addresses in the table, and those that the records say were added: the same, each once.
macro_rules! assert_kept {
    ($app:expr, $conn:expr, $expected:expr) => {{
        use audit_tests::app::accounts;
        let expected: &[&str] = &$expected;
        let kept: Vec<String> = accounts::table
            .select(accounts::email)
            .order(accounts::id)
            .load($conn)
            .unwrap();
        assert_eq!(kept, expected, "the table");
        let recorded = crate::support::added(&crate::support::settled!($app, $conn));
        assert_eq!(recorded, expected, "the trail");
    }};
}

/// The records whose transaction was committed: of those in doubt, PostgreSQL says so.
macro_rules! settled {
    ($app:expr, $conn:expr) => {
        match &mut *$conn {
            conn => {
                let mut is_committed = |xid: i64| -> bool {
                    let status = format!("txid_status({xid}) = 'committed'");
                    let status = diesel::dsl::sql::<diesel::sql_types::Bool>(&status);
                    diesel::select(status).get_result(conn).unwrap()
                };
                let mut records = $app.records();
                records.retain(|it| it.unsettled.as_ref().is_none_or(|it| is_committed(it.xid)));
                records
            }
        }
    };
}

pub(crate) use {add, assert_kept, settled};

/// The error that makes a transaction roll back.
pub(crate) const NO: diesel::result::Error = diesel::result::Error::RollbackTransaction;

fn changes(record: &Record) -> BTreeMap<String, Value> {
    let json = record.changes.as_ref().expect("changes").as_json();
    serde_json::from_str(json).unwrap()
}

/// The addresses of the records of inserts.
pub(crate) fn added(records: &[Record]) -> Vec<String> {
    let email = |record: &Record| changes(record)["email"]["new"].as_str().unwrap().to_owned();
    records.iter().map(email).collect()
}

/// The table `id → (email, balance)` that the records lead to, each checked against the one before.
pub(crate) fn replayed(records: &[Record]) -> BTreeMap<i32, (String, i64)> {
    let mut table: BTreeMap<i32, (String, i64)> = BTreeMap::new();
    for record in records {
        let id: i32 = record.resource_id.as_ref().unwrap().parse().unwrap();
        let changes = changes(record);
        match record.action.as_str() {
            "insert" => {
                let email = changes["email"]["new"].as_str().unwrap().to_owned();
                let balance = changes["balance"]["new"].as_i64().unwrap();
                assert!(
                    table.insert(id, (email, balance)).is_none(),
                    "inserted twice"
                );
            }
            "update" => {
                let row = table.get_mut(&id).expect("updated before it was inserted");
                assert_eq!(changes["balance"]["old"], row.1, "a gap in the trail");
                row.1 = changes["balance"]["new"].as_i64().unwrap();
            }
            "delete" => {
                let row = table.remove(&id).expect("deleted before it was inserted");
                assert_eq!(changes["balance"]["old"], row.1, "a gap in the trail");
            }
            other => panic!("{other}"),
        }
    }
    table
}

/// Sees the events of a connection.
#[derive(Debug, Clone, Default)]
pub(crate) struct Log(Arc<Mutex<Vec<String>>>);

impl Log {
    pub(crate) fn has(&self, what: &str) -> bool {
        self.count(what) > 0
    }

    /// In how many events that is.
    pub(crate) fn count(&self, what: &str) -> usize {
        let lines = self.0.lock().unwrap();
        lines.iter().filter(|line| line.contains(what)).count()
    }
}

impl Instrumentation for Log {
    fn on_connection_event(&mut self, event: InstrumentationEvent<'_>) {
        self.0.lock().unwrap().push(format!("{event:?}"));
    }
}

/// Refuses every push.
pub(crate) struct Refusing(pub(crate) MemoryQueue);

impl audit_diesel::Queue for Refusing {
    fn name(&self) -> String {
        "the refusing queue".to_owned()
    }

    fn push(&self, _: &[audit_diesel::Payload]) -> Result<(), audit_diesel::QueueError> {
        Err(audit_diesel::QueueError::Unavailable {
            queue: self.name(),
            reason: "it refuses".to_owned(),
        })
    }

    fn peek(&self, limit: usize) -> Result<audit_diesel::Batch, audit_diesel::QueueError> {
        self.0.peek(limit)
    }

    fn ack(&self, batch: &audit_diesel::Batch) -> Result<usize, audit_diesel::QueueError> {
        self.0.ack(batch)
    }

    fn len(&self) -> Result<u64, audit_diesel::QueueError> {
        self.0.len()
    }
}
