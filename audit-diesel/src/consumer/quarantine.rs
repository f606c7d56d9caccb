//! Putting into quarantine what cannot be stored, and nothing that is stored.

use std::collections::HashSet;

use diesel::result::QueryResult;
use uuid::Uuid;

use super::backend::{Backend, holds};
use super::probe::TableRefusesAll;
use super::refusal::is_outage;
use crate::log::log;
use crate::store::{RecordHead, Refused};

/// Takes away the payloads whose records are stored, whatever speaks against them now, and says how
/// many those were: a record is stored or quarantined, never both.
pub(super) fn leave_out_stored<C: Backend>(
    conn: &mut C,
    refused: &mut Vec<Refused>,
) -> QueryResult<usize> {
    let id = |refused: &Refused| RecordHead::read(&refused.payload).map(|head| head.id);
    let ids: Vec<_> = refused.iter().filter_map(id).collect();
    if ids.is_empty() {
        return Ok(0);
    }
    let stored = match conn.stored(&ids) {
        Err(error) if !is_outage(&error) => {
            return Err(TableRefusesAll::error("audit_logs", &error));
        }
        stored => stored?,
    };
    let before = refused.len();
    refused.retain(|it| {
        let digest = it.payload.content_digest();
        !id(it).is_some_and(|id| holds(&stored, id, &digest))
    });
    Ok(before - refused.len())
}

/// Puts payloads into quarantine, and says which were not there.
pub(super) fn quarantine<C: Backend>(conn: &mut C, refused: &[Refused]) -> QueryResult<Vec<Uuid>> {
    explained(conn, |conn| conn.quarantine(refused))
}

/// As [`quarantine`], for a payload that nothing on the way may recognise.
pub(super) fn quarantine_covertly<C: Backend>(
    conn: &mut C,
    refused: &Refused,
) -> QueryResult<Vec<Uuid>> {
    explained(conn, |conn| conn.quarantine_covertly(refused))
}

/// A quarantine that takes nothing convicts nobody, and somebody has to mend it.
fn explained<C: Backend>(
    conn: &mut C,
    put: impl FnOnce(&mut C) -> QueryResult<Vec<Uuid>>,
) -> QueryResult<Vec<Uuid>> {
    let put = put(conn).and_then(|new| conn.check_deferred().map(|()| new));
    match put {
        Err(error) if !is_outage(&error) => Err(TableRefusesAll::error("audit_quarantine", &error)),
        put => put,
    }
}

/// Says those that are new in quarantine.
pub(super) fn say_quarantined(refused: &[Refused], new: &[Uuid]) {
    let mut new: HashSet<_> = new.iter().copied().collect();
    for refused in refused {
        if new.remove(&refused.id()) {
            log!(
                error,
                quarantine_id = %refused.id(),
                reason = refused.reason_without_values(),
                "an audit record went into quarantine"
            );
        }
    }
}
