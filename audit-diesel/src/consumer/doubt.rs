//! What became of a transaction whose end nobody saw.

use audit_core::Unsettled;
use diesel::result::QueryResult;

use super::refusal::is_outage;
use super::store::{Backend, TransactionStatus};

/// What became of a transaction that wrote at this time.
pub(super) fn status_of<C: Backend>(
    conn: &mut C,
    unsettled: &Unsettled,
    wrote_at: i64,
) -> QueryResult<TransactionStatus> {
    if let Some(origin) = &unsettled.origin
        && !is_here(conn, origin)?
    {
        return Ok(TransactionStatus::Unknown);
    }
    let status = conn.transaction_status(unsettled.xid)?;
    // An id that was not on disk in a crash is given again, to a transaction that may commit.
    if status == TransactionStatus::Committed && conn.crashed_since(wrote_at)? {
        return Ok(TransactionStatus::Unknown);
    }
    Ok(status)
}

/// Whether this is the server. One that may not say which it is counts as another one.
fn is_here<C: Backend>(conn: &mut C, origin: &str) -> QueryResult<bool> {
    match conn.transaction(|conn| conn.server_identity()) {
        Ok(here) => Ok(here.is_some_and(|here| cluster(&here) == cluster(origin))),
        Err(error) if is_outage(&error) => Err(error),
        Err(_) => Ok(false),
    }
}

/// The part of a server's identity that a crash does not change: its ids mean other transactions on
/// another one.
pub(super) fn cluster(identity: &str) -> &str {
    identity.split(' ').next().unwrap_or_default()
}
