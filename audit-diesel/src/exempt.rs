//! Work that is not a user's action, said on purpose.

use std::sync::Arc;

use audit_core::Record;
use diesel::connection::TransactionManager;
use diesel::result::Error;

use crate::AuditError;
use crate::auditor::AuditedBackend;
use crate::connection::{AuditedConnection, within_savepoint};
use crate::delivery;
use crate::recorder::{Block, Recorder};

/// Runs work that is not a user's action, such as a backfill, with Diesel's own statements: no row
/// is read, and no change recorded. One record `exempt` says why, how many statements ran and how
/// many rows they touched.
///
/// It runs in a transaction, or in a savepoint of the one that is open: the record is there if and
/// only if the work was kept. A block inside another one is part of it. `audited::` statements
/// inside are recorded as ever.
///
/// ```
/// # #[cfg(feature = "sqlite")]
/// # mod example {
/// # use diesel::prelude::*;
/// # diesel::table! { products (id) { id -> Integer, price_cents -> BigInt, } }
/// # pub fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use audit_diesel::testing::TestAudit;
/// # let conn = &mut SqliteConnection::establish(":memory:")?;
/// # diesel::sql_query("CREATE TABLE products (id integer NOT NULL PRIMARY KEY, price_cents bigint NOT NULL)").execute(conn)?;
/// # diesel::sql_query("INSERT INTO products VALUES (1, 5), (2, 6)").execute(conn)?;
///
/// let audit = TestAudit::attached_to(conn);
/// let rows = audit_diesel::exempt(conn, "backfill of price_cents", |conn| {
///     diesel::update(products::table).set(products::price_cents.eq(100)).execute(conn)
/// })?;
/// assert_eq!(rows, 2);
/// assert_eq!(audit.committed()[0].extra["rows"], 2);
/// # Ok(())
/// # }
/// # }
/// # #[cfg(feature = "sqlite")]
/// # example::main().unwrap();
/// ```
///
/// # Errors
///
/// The work's own, Diesel's for the transaction, and [`AuditError`]: without a reason, and on a
/// connection without an auditor, nothing runs.
pub fn exempt<C, T, E>(
    conn: &mut C,
    reason: &str,
    work: impl FnOnce(&mut C) -> Result<T, E>,
) -> Result<T, E>
where
    C: AuditedConnection,
    C::Backend: AuditedBackend,
    E: From<Error>,
{
    if reason.trim().is_empty() {
        return Err(Error::from(AuditError::NoReason).into());
    }
    let state = {
        delivery::ready(conn.raw(), None).map_err(Error::from)?;
        let recorder = Recorder::of(conn.raw()).ok_or(AuditError::NoAuditor);
        Arc::clone(recorder.map_err(Error::from)?.exempt())
    };
    if state.is_in_force() {
        let _block = Block::enter(&state);
        return work(conn);
    }
    as_a_whole(conn, |conn| {
        let before = rows_written(conn)?;
        state.count_anew();
        let value = {
            let _block = Block::enter(&state);
            work(conn)?
        };
        let statements = state.statements();
        let rows = rows_written(conn)? - before;
        record(conn, reason, statements, rows).map_err(Error::from)?;
        Ok(value)
    })
}

/// Runs it in a transaction, or in a savepoint of the one that is open. One that raw SQL has opened
/// is unknown to Diesel, which would commit it.
fn as_a_whole<C, T, E>(conn: &mut C, work: impl FnOnce(&mut C) -> Result<T, E>) -> Result<T, E>
where
    C: AuditedConnection,
    E: From<Error>,
{
    let by_diesel = C::TransactionManager::transaction_manager_status_mut(conn)
        .transaction_depth()
        .is_ok_and(|depth| depth.is_some());
    let by_sql = !by_diesel && Recorder::of(conn.raw()).is_some_and(|it| it.in_transaction());
    match by_sql {
        true => within_savepoint(conn, work),
        false => conn.transaction(work),
    }
}

fn rows_written<C>(conn: &mut C) -> Result<i64, Error>
where
    C: AuditedConnection,
    C::Backend: AuditedBackend,
{
    <C::Backend as AuditedBackend>::rows_written(conn.raw())
}

fn record<C>(conn: &mut C, reason: &str, statements: u64, rows: i64) -> Result<(), AuditError>
where
    C: AuditedConnection,
    C::Backend: AuditedBackend,
{
    let conn = conn.raw();
    let delivery = delivery::ready(conn, None)?;
    let recorder = Recorder::of(conn).ok_or(AuditError::NoAuditor)?;
    let mut record = Record::new("exempt", recorder.context()?);
    record.add_detail("reason", reason);
    record
        .extra
        .insert("statements".to_owned(), statements.into());
    record.extra.insert("rows".to_owned(), rows.into());
    let payload = recorder.number(record)?;
    delivery::changes(conn, vec![payload], None, delivery)
}
