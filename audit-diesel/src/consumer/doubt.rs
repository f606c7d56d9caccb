//! What became of a transaction whose end nobody saw.

use audit_core::Unsettled;
use diesel::result::QueryResult;

use super::backend::{Backend, TransactionStatus};
use super::refusal::is_outage;

/// What became of a transaction that wrote at this time.
pub(super) fn status_of<C: Backend>(
    conn: &mut C,
    unsettled: &Unsettled,
    wrote_at: i64,
) -> QueryResult<TransactionStatus> {
    let Some(origin) = &unsettled.origin else {
        let status = conn.transaction_status(unsettled.xid)?;
        return Ok(believed(status, conn.crashed_since(wrote_at)?));
    };
    let here = identity(conn)?;
    if here.as_deref().map(cluster) != Some(cluster(origin)) {
        return Ok(TransactionStatus::Unknown);
    }
    let status = conn.transaction_status(unsettled.xid)?;
    Ok(believed(status, here.as_ref() != Some(origin)))
}

/// An id that was not on disk in a crash is given again, to a transaction that may commit.
fn believed(status: TransactionStatus, crashed_since: bool) -> TransactionStatus {
    match status {
        TransactionStatus::Committed if crashed_since => TransactionStatus::Unknown,
        status => status,
    }
}

/// Which server this is. One that may not say so counts as another one.
fn identity<C: Backend>(conn: &mut C) -> QueryResult<Option<String>> {
    match conn.transaction(|conn| conn.server_identity()) {
        Ok(here) => Ok(here),
        Err(error) if is_outage(&error) => Err(error),
        Err(_) => Ok(None),
    }
}

/// The part of a server's identity that a crash does not change: its ids mean other transactions on
/// another one.
pub(super) fn cluster(identity: &str) -> &str {
    identity.split(' ').next().unwrap_or_default()
}
