// The table and the model that the examples of the statements' documentation use.

#[allow(unused_imports)]
use audit_diesel::{Auditable, Auditor, MemoryQueue, audited};
use diesel::prelude::*;

diesel::table! {
    accounts (id) {
        id -> Integer,
        email -> Text,
        balance -> BigInt,
        api_token -> Text,
        closed -> Bool,
    }
}

#[allow(dead_code)]
#[derive(Debug, Queryable, Selectable, Identifiable, Auditable)]
#[diesel(table_name = accounts)]
struct Account {
    id: i32,
    email: String,
    balance: i64,
    #[audit(redact)]
    api_token: String,
    closed: bool,
}

#[allow(dead_code)]
fn accounts_in_memory() -> Result<(MemoryQueue, SqliteConnection), Box<dyn std::error::Error>> {
    let queue = MemoryQueue::new();
    let auditor = Auditor::builder().queue(queue.clone()).build()?;
    let mut conn = SqliteConnection::establish(":memory:")?;
    auditor.attach(&mut conn);
    diesel::sql_query(
        "CREATE TABLE accounts (
             id integer NOT NULL PRIMARY KEY,
             email text NOT NULL UNIQUE,
             balance bigint NOT NULL DEFAULT 0 CHECK (balance >= 0),
             api_token text NOT NULL DEFAULT 'none',
             closed boolean NOT NULL DEFAULT 0
         )",
    )
    .execute(&mut conn)?;
    Ok((queue, conn))
}
