//! What became of a transaction whose COMMIT was cut off.

use audit_core::Unsettled;
use diesel::result::QueryResult;

use super::store::{Backend, TransactionStatus};

/// What became of a transaction that wrote at this time.
pub(super) fn status_of<C: Backend>(
    conn: &mut C,
    unsettled: &Unsettled,
    wrote_at: i64,
) -> QueryResult<TransactionStatus> {
    let crashed = match &unsettled.origin {
        Some(origin) => {
            let here = conn.server_identity()?.unwrap_or_default();
            if cluster(origin) != cluster(&here) {
                return Ok(TransactionStatus::Unknown);
            }
            Some(*origin != here)
        }
        None => None,
    };
    let status = conn.transaction_status(unsettled.xid)?;
    if status != TransactionStatus::Committed {
        return Ok(status);
    }
    // An id that was not on disk in a crash is given again, to a transaction that may commit.
    let crashed = match crashed {
        Some(crashed) => crashed,
        None => conn.crashed_since(wrote_at)?,
    };
    Ok(match crashed {
        true => TransactionStatus::Unknown,
        false => status,
    })
}

/// The part of a server's identity that a crash does not change: its ids mean other transactions on
/// another one.
pub(super) fn cluster(identity: &str) -> &str {
    identity.split(' ').next().unwrap_or_default()
}
