//! What holds on both backends. Included by `on_postgres.rs` and `on_sqlite.rs`.

#[path = "cases/delete.rs"]
mod delete;
#[path = "cases/errors.rs"]
mod errors;
#[path = "cases/generic.rs"]
mod generic;
#[path = "cases/insert.rs"]
mod insert;
#[path = "cases/model_shapes.rs"]
mod model_shapes;
#[path = "cases/replay.rs"]
mod replay;
#[path = "cases/returning.rs"]
mod returning;
#[path = "cases/shown.rs"]
mod shown;
#[path = "cases/skipped.rs"]
mod skipped;
#[path = "cases/tables.rs"]
mod tables;
#[path = "cases/unreadable.rs"]
mod unreadable;
#[path = "cases/update.rs"]
mod update;
#[path = "cases/upsert.rs"]
mod upsert;
#[path = "cases/writers.rs"]
mod writers;

use audit_diesel::{Queue, audited};
use audit_tests::app::{Account, accounts};
use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use diesel::r2d2::{ConnectionManager, PooledConnection};

use super::{App, Backend, Conn, app};

pub(super) type Pooled = PooledConnection<ConnectionManager<Conn>>;

/// The application with these accounts, numbered from 1, and a connection; nothing in the trail.
fn app_with(emails: &[&str]) -> (App, Pooled) {
    let app = app();
    let mut conn = app.pool.get().unwrap();
    for email in emails {
        audited::insert_into(accounts::table)
            .values((accounts::email.eq(*email), accounts::balance.eq(10)))
            .execute(&mut conn)
            .unwrap();
    }
    forget(&app);
    (app, conn)
}

/// Empties the trail.
fn forget(app: &App) {
    let all = app.queue.peek(usize::MAX).unwrap();
    app.queue.ack(&all).unwrap();
}

/// The trail since the last call.
pub(super) fn new_trail(app: &App) -> Vec<String> {
    let trail = app.trail();
    forget(app);
    trail
}

/// The same for statements without an order.
pub(super) fn sorted_trail(app: &App) -> Vec<String> {
    let mut trail = new_trail(app);
    trail.sort();
    trail
}

fn find(conn: &mut Conn, id: i32) -> Account {
    accounts::table.find(id).first(conn).unwrap()
}

fn count(conn: &mut Conn) -> i64 {
    accounts::table.count().get_result(conn).unwrap()
}

pub(super) fn run(conn: &mut Conn, sql: &str) {
    conn.batch_execute(sql).unwrap();
}
