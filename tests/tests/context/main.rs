//! The context of a record is that of its request, never of the one before.

mod pools;
mod scopes;
mod statements;

use audit_diesel::{Actor, AuditContext, audited};
use audit_tests::app::sqlite::{App, Conn};
use audit_tests::app::{NewAccount, accounts};
use diesel::prelude::*;

fn user(id: impl ToString) -> AuditContext {
    AuditContext::new(Actor::user(id.to_string()))
}

fn actor() -> Option<String> {
    AuditContext::current()
        .actor_ref()
        .map(|actor| actor.id().to_owned())
}

fn insert(conn: &mut Conn, email: &str) -> QueryResult<usize> {
    audited::insert_into(accounts::table)
        .values(NewAccount::new(email))
        .execute(conn)
}

fn actors(app: &App) -> Vec<String> {
    let name = |record: &audit_diesel::Record| record.context.actor_ref().unwrap().to_string();
    app.records().iter().map(name).collect()
}
