//! Whether the table is what refuses a record: other rows of its time are tried, and taken back.
//!
//! A refusal is believed only where the table takes one of them. A partition that is missing, a new
//! column without a default, or a trigger that lets nothing in refuses them all, and then the
//! records wait.

use std::hash::{BuildHasher, RandomState};

use audit_core::{Actor, AuditContext, ContentDigest, Payload, Record, Source};
use chrono::{DateTime, TimeDelta, Utc};
use diesel::result::{Error, QueryResult};
use uuid::Uuid;

use super::backend::Backend;
use super::refusal::is_outage;
use crate::store::EntryToStore;

/// A table that takes no row at all.
#[derive(Debug, thiserror::Error)]
#[error(
    "the table `{table}` refuses every row, so it is not the records' fault: {error}. They wait, and \
     none goes into quarantine for that; look for what was changed about the table, such as a \
     partition that is missing, a column, a constraint or a trigger"
)]
pub(super) struct TableRefusesAll {
    pub(super) table: &'static str,
    pub(super) error: String,
}

impl TableRefusesAll {
    pub(super) fn error(table: &'static str, error: &Error) -> Error {
        let error = error.to_string();
        Error::QueryBuilderError(Box::new(Self { table, error }))
    }

    pub(super) fn is_why(error: &Error) -> bool {
        matches!(error, Error::QueryBuilderError(why) if why.is::<Self>())
    }
}

/// A statement that was fine, and left no row: a trigger or a rule does that.
#[derive(Debug, thiserror::Error)]
#[error(
    "the statement was fine, and the row is not in the table: a trigger or a rule drops it or \
     moves it away"
)]
struct Dropped;

/// What a table says that has dropped rows without a word.
pub(super) fn dropped() -> Error {
    Error::QueryBuilderError(Box::new(Dropped))
}

/// Whether the table takes any row of this record's time; or of now, where the record's time is none
/// that a table has to have room for.
pub(super) fn takes_others<C: Backend>(conn: &mut C, than: &EntryToStore) -> QueryResult<bool> {
    if takes_at(conn, than, than.occurred_at)? {
        return Ok(true);
    }
    let now = conn.now()?;
    Ok(is_odd(than.occurred_at, now) && takes_at(conn, than, now)?)
}

/// A record that waited for longer than this may find its partition gone.
const LONGEST_WAIT: TimeDelta = TimeDelta::days(30);

/// What clocks may differ by, and time zones by mistake.
const LARGEST_SKEW: TimeDelta = TimeDelta::days(1);

/// Whether a time is so far off that its record is to blame for it, and not who makes partitions.
fn is_odd(time: DateTime<Utc>, now: DateTime<Utc>) -> bool {
    let since = now.signed_duration_since(time);
    since > LONGEST_WAIT || since < -LARGEST_SKEW
}

fn takes_at<C: Backend>(
    conn: &mut C,
    than: &EntryToStore,
    time: DateTime<Utc>,
) -> QueryResult<bool> {
    let twin = alike(than, time);
    for other in [&twin, &fresh(than, time)] {
        if takes(conn, |conn| insert_one(conn, other))? {
            return Ok(true);
        }
    }
    // Where the table takes rows of certain kinds only, it has taken this one.
    takes(conn, |conn| match conn.insert_again(&twin)? {
        0 => Err(dropped()),
        _ => Ok(()),
    })
}

/// Whether the table takes an ordinary row of this size. It says nothing about any record.
pub(super) fn takes_rows<C: Backend>(conn: &mut C, bytes: usize) -> QueryResult<bool> {
    let row = fresh_of(bytes, Utc::now());
    takes(conn, |conn| insert_one(conn, &row))
}

fn insert_one<C: Backend>(conn: &mut C, row: &EntryToStore) -> QueryResult<()> {
    match conn.insert_rows(&[row])? {
        0 if conn.stored(&[row.record.id])?.is_empty() => Err(dropped()),
        _ => Ok(()),
    }
}

/// Whether that can be done; it is taken back.
fn takes<C: Backend>(
    conn: &mut C,
    insert: impl FnOnce(&mut C) -> QueryResult<()>,
) -> QueryResult<bool> {
    let tried = conn.transaction(|conn| {
        insert(conn)?;
        conn.check_deferred()?;
        Err::<(), _>(Error::RollbackTransaction)
    });
    match tried {
        Ok(()) | Err(Error::RollbackTransaction) => Ok(true),
        Err(error) if is_outage(&error) => Err(error),
        Err(_) => Ok(false),
    }
}

/// A row like the record's, with the same columns filled, without what may be odd about it.
fn alike(entry: &EntryToStore, occurred_at: DateTime<Utc>) -> EntryToStore {
    let record = &entry.record;
    let mut twin = Record::new(record.action.clone(), context_like(&record.context));
    twin.resource_type.clone_from(&record.resource_type);
    twin.resource_id = record.resource_id.as_deref().map(plain);
    twin.outcome = record.outcome;
    twin.transaction = record.transaction;
    twin.changes = record
        .changes
        .as_ref()
        .and_then(|changes| serde_json::from_str(&filled(changes.as_json().len())).ok());
    EntryToStore {
        payload: Payload::from(Vec::new()),
        digest: digest_of(twin.id),
        record: twin,
        occurred_at,
        extra: entry.extra.as_ref().map(|extra| filled(extra.len())),
    }
}

fn context_like(context: &AuditContext) -> AuditContext {
    let mut twin = match context.actor_ref() {
        Some(actor) => AuditContext::new(Actor::new(actor.kind().to_owned(), plain(actor.id()))),
        None => AuditContext::default(),
    };
    if let Some(organization) = context.organization_ref() {
        twin = twin.organization(plain(organization));
    }
    if let Some(project) = context.project_ref() {
        twin = twin.project(plain(project));
    }
    if let Some(id) = context.request_id_ref() {
        twin = twin.request_id(plain(id));
    }
    if let Some(ip) = context.ip_ref() {
        twin = twin.ip(ip);
    }
    if let Some(source) = context.source_ref() {
        twin = twin.source(source.clone());
    }
    if let Some(id) = context.api_key_id_ref() {
        twin = twin.api_key_id(plain(id));
    }
    if let Some(id) = context.oauth_client_id_ref() {
        twin = twin.oauth_client_id(plain(id));
    }
    twin
}

/// The longest text that no index of a table minds.
const PLAIN_BYTES: usize = 128;

/// A text as it is, as it may say where the row belongs, unless it is an odd one.
fn plain(text: &str) -> String {
    match text.len() <= PLAIN_BYTES && !text.chars().any(char::is_control) {
        true => text.to_owned(),
        false => Uuid::now_v7().to_string(),
    }
}

/// A row with all columns filled, and with values that no other row has.
fn fresh(like: &EntryToStore, occurred_at: DateTime<Utc>) -> EntryToStore {
    fresh_of(like.payload.as_bytes().len(), occurred_at)
}

/// A digest that no record has.
fn digest_of(id: Uuid) -> ContentDigest {
    let mut digest = ContentDigest::default();
    let (half, other) = digest.split_at_mut(16);
    half.copy_from_slice(id.as_bytes());
    other.copy_from_slice(id.as_bytes());
    digest
}

fn fresh_of(bytes: usize, occurred_at: DateTime<Utc>) -> EntryToStore {
    let id = Uuid::now_v7().to_string();
    let context = AuditContext::new(Actor::service(id.clone()))
        .organization(id.clone())
        .project(id.clone())
        .request_id(id.clone())
        .ip(std::net::Ipv4Addr::LOCALHOST)
        .source(Source::Job)
        .api_key_id(id.clone())
        .oauth_client_id(id.clone());
    let mut record = Record::new(format!("audit.probe.{id}"), context);
    record.resource_type = Some(format!("audit.probe.{id}"));
    record.resource_id = Some(id);
    record.changes = serde_json::from_str(&filled(0)).ok();
    EntryToStore {
        payload: Payload::from(Vec::new()),
        digest: digest_of(record.id),
        record,
        occurred_at,
        // A disk that has room for a small row may have none for a large one.
        extra: Some(filled(bytes)),
    }
}

/// JSON that is at least so long, and does not compress to nothing.
fn filled(bytes: usize) -> String {
    format!("{{\"filling\":{{\"new\":\"{}\"}}}}", digits(bytes))
}

fn digits(length: usize) -> String {
    let random = RandomState::new();
    let mut text = String::with_capacity(length + 16);
    for number in 0.. {
        if text.len() >= length {
            break;
        }
        text.push_str(&format!("{:016x}", random.hash_one(number)));
    }
    text.truncate(length);
    text
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn entry(record: Record) -> EntryToStore {
        EntryToStore::read(&record.encode().unwrap()).unwrap()
    }

    #[test]
    fn a_row_alike_keeps_what_says_where_it_belongs_and_nothing_odd() {
        let context = AuditContext::new(Actor::user("a\0b"))
            .organization("acme")
            .request_id("x".repeat(5_000));
        let mut record = Record::new("login.failed", context);
        record.resource_id = Some("7".to_owned());
        record.extra.insert("note".to_owned(), "\0".into());
        let entry = entry(record);
        let twin = alike(&entry, entry.occurred_at);
        assert_ne!(twin.record.id, entry.record.id);
        assert_eq!(twin.occurred_at, entry.occurred_at);
        assert_eq!(twin.record.action, "login.failed");
        let context = &twin.record.context;
        assert_eq!(context.organization_ref(), Some("acme"));
        assert_eq!(context.actor_ref().unwrap().kind(), "user");
        assert!(!context.actor_ref().unwrap().id().contains('\0'));
        assert!(context.request_id_ref().unwrap().len() < 100);
        assert_eq!(context.project_ref(), None);
        assert_eq!(twin.record.resource_id.as_deref(), Some("7"));
        assert!(!twin.extra.unwrap().contains("note"));
        assert!(twin.record.changes.is_none());
    }

    #[test]
    fn fresh_rows_have_nothing_in_common_and_are_as_large() {
        let like = entry(Record::new("a", AuditContext::default()));
        let at = like.occurred_at;
        let (one, other) = (fresh(&like, at), fresh(&like, at));
        assert_ne!(one.record.action, other.record.action);
        assert_ne!(one.record.resource_id, other.record.resource_id);
        assert!(one.extra.unwrap().len() >= like.payload.as_bytes().len());
        assert!(one.record.changes.is_some());
    }
}
