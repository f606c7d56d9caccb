//! What became of records, by what the database knows of them.
#![cfg_attr(
    not(all(feature = "redis", feature = "journal")),
    expect(dead_code, reason = "only a journal in front of Redis asks")
)]

use std::collections::HashSet;

use audit_core::{ContentDigest, Payload};
use diesel::r2d2::{ConnectionManager, Pool};
use diesel::result::QueryResult;
use uuid::Uuid;

use super::backend::{AuditStore, Backend, Stored, TransactionStatus, holds};
use super::database::Database;
use super::doubt::status_of;
use super::rights::TO_CONFIRM;
use crate::store::{RecordHead, quarantine_id};

/// What became of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    Stored,
    Quarantined,
    /// Its transaction was rolled back: it is nowhere, rightly.
    RolledBack,
    /// Its transaction has not ended.
    InProgress,
    Missing,
}

/// Tells what became of records.
pub(crate) trait Fates: Send + 'static {
    /// The fates of the payloads, one each.
    fn of(&mut self, payloads: &[Payload]) -> Result<Vec<Fate>, String>;

    /// Which database is asked, none where it has no name. That it cannot be asked now is an error.
    fn database(&mut self) -> Result<Option<String>, String>;
}

/// Asks a database.
pub(crate) struct PoolFates<C: AuditStore>(Database<C>);

impl<C: AuditStore> PoolFates<C> {
    pub(crate) fn new(pool: Pool<ConnectionManager<C>>) -> Self {
        Self(Database::new(pool, TO_CONFIRM))
    }
}

impl<C: AuditStore> Fates for PoolFates<C> {
    fn of(&mut self, payloads: &[Payload]) -> Result<Vec<Fate>, String> {
        let asked: Vec<_> = payloads.iter().map(Asked::read).collect();
        let fates = self.0.run(|conn| fates(conn, &asked));
        fates.map_err(String::from)
    }

    fn database(&mut self) -> Result<Option<String>, String> {
        self.0
            .run(|conn| conn.bounded(Backend::database_identity))
            .map_err(String::from)
    }
}

/// What identifies a payload in the database.
#[derive(Debug)]
struct Asked {
    record: Option<RecordHead>,
    digest: ContentDigest,
    quarantine_id: Uuid,
}

impl Asked {
    fn read(payload: &Payload) -> Self {
        Self {
            record: RecordHead::read(payload),
            digest: payload.content_digest(),
            quarantine_id: quarantine_id(payload),
        }
    }

    fn id(&self) -> Option<Uuid> {
        self.record.as_ref().map(|record| record.id)
    }

    /// Whether this very record is stored, and not another one that claims its id.
    fn is_among(&self, stored: &Stored) -> bool {
        self.id().is_some_and(|id| holds(stored, id, &self.digest))
    }
}

/// The answers to as many payloads as are asked for.
fn fates<C: Backend>(conn: &mut C, asked: &[Asked]) -> QueryResult<Vec<Fate>> {
    conn.bounded(|conn| {
        let ids: Vec<_> = asked.iter().filter_map(Asked::id).collect();
        let stored = conn.stored(&ids)?;
        let missing = |asked: &&Asked| !asked.is_among(&stored);
        let ids: Vec<_> = asked
            .iter()
            .filter(missing)
            .map(|a| a.quarantine_id)
            .collect();
        let held: HashSet<_> = match ids.is_empty() {
            true => HashSet::new(),
            false => conn.quarantined(&ids)?.into_iter().collect(),
        };
        let fates = asked.iter().map(|asked| match asked {
            asked if !missing(&asked) => Ok(Fate::Stored),
            asked if held.contains(&asked.quarantine_id) => Ok(Fate::Quarantined),
            Asked {
                record:
                    Some(RecordHead {
                        unsettled: Some(unsettled),
                        occurred_at,
                        ..
                    }),
                ..
            } => Ok(match status_of(conn, unsettled, *occurred_at)? {
                TransactionStatus::Aborted => Fate::RolledBack,
                TransactionStatus::InProgress => Fate::InProgress,
                TransactionStatus::Committed | TransactionStatus::Unknown => Fate::Missing,
            }),
            _ => Ok(Fate::Missing),
        });
        fates.collect()
    })
}
