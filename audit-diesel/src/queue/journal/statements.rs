//! What the journal asks SQLite.
//!
//! Diesel prepares its own UPDATE and multi-row INSERT anew for every call. A push is as fast as
//! it is because its statements are fixed text, which Diesel keeps prepared.

use std::ops::Range;

use audit_core::{Batch, Payload};
use diesel::connection::{DefaultLoadingMode, SimpleConnection};
use diesel::prelude::*;
use diesel::query_builder::{AstPass, QueryFragment, QueryId};
use diesel::sql_types::{self, BigInt, Binary};
use diesel::sqlite::Sqlite;

use crate::failpoint::failpoint;

diesel::table! {
    audit_journal (seq) {
        seq -> BigInt,
        payload -> Binary,
    }
}

diesel::table! {
    audit_journal_state (id) {
        id -> BigInt,
        version -> BigInt,
        next_seq -> BigInt,
        bytes -> BigInt,
        sent_to -> BigInt,
        carrier -> BigInt,
        carrier_until -> BigInt,
    }
}

/// Appends the payloads, or returns false where they would not fit into `max_bytes`.
pub(super) fn push(
    connection: &mut SqliteConnection,
    payloads: &[Payload],
    bytes: u64,
    max_bytes: u64,
) -> QueryResult<bool> {
    if bytes > max_bytes {
        return Ok(false);
    }
    let room_from = signed(max_bytes - bytes);
    // Diesel sends BEGIN and COMMIT as text, which SQLite reads anew each time. Where anything
    // fails the connection is closed, which rolls back.
    BEGIN.execute(connection)?;
    let pushed = append(connection, payloads, signed(bytes), room_from)?;
    failpoint!("journal.in-write");
    COMMIT.execute(connection)?;
    Ok(pushed)
}

/// Appends the payloads if no more than `room_from` bytes are held.
pub(super) fn append(
    connection: &mut SqliteConnection,
    payloads: &[Payload],
    bytes: i64,
    room_from: i64,
) -> QueryResult<bool> {
    for (place, payload) in (0..).zip(payloads) {
        let append = Append {
            place,
            payload: payload.as_bytes(),
            room_from,
        };
        if append.execute(connection)? == 0 {
            return Ok(false);
        }
    }
    let count = payloads.len() as i64;
    Advance { count, bytes }.execute(connection)?;
    Ok(true)
}

/// Takes room, or gives it back.
pub(super) fn add_bytes(connection: &mut SqliteConnection, bytes: i64) -> QueryResult<usize> {
    Advance { count: 0, bytes }.execute(connection)
}

/// The oldest payloads of those numbered so: at most `limit`, and at most `max_bytes` unless it is
/// only one.
pub(super) fn peek(
    connection: &mut SqliteConnection,
    numbers: Range<i64>,
    limit: usize,
    max_bytes: usize,
) -> QueryResult<Batch> {
    let mut batch = Batch::default();
    let mut bytes = 0;
    let rows = audit_journal::table
        .filter(audit_journal::seq.ge(numbers.start))
        .filter(audit_journal::seq.lt(numbers.end))
        .order(audit_journal::seq)
        .limit(i64::try_from(limit).unwrap_or(i64::MAX))
        .load_iter::<(i64, Vec<u8>), DefaultLoadingMode>(connection)?;
    for row in rows {
        let (seq, payload) = row?;
        bytes += payload.len();
        if batch.is_empty() {
            batch.receipt = seq as u64;
        } else if bytes > max_bytes || seq as u64 != batch.receipt + batch.len() as u64 {
            // A batch is a range of numbers. Where somebody removed rows by hand it ends.
            break;
        }
        batch.payloads.push(Payload::from(payload));
    }
    Ok(batch)
}

/// Removes the batch if its first row is still the oldest. Numbers are never used twice, so that
/// a late acknowledgement cannot mean other rows.
pub(super) fn ack(connection: &mut SqliteConnection, batch: &Batch) -> QueryResult<usize> {
    let first = signed(batch.receipt);
    let end = first.saturating_add(batch.len() as i64);
    connection.immediate_transaction(|connection| {
        let oldest = audit_journal::table
            .select(audit_journal::seq)
            .order(audit_journal::seq)
            .first::<i64>(connection)
            .optional()?;
        if oldest != Some(first) {
            return Ok(0);
        }
        let rows = audit_journal::table
            .filter(audit_journal::seq.ge(first))
            .filter(audit_journal::seq.lt(end));
        let removed = diesel::delete(rows).execute(connection)?;
        let bytes: usize = batch.payloads.iter().map(|p| p.as_bytes().len()).sum();
        let state = audit_journal_state::table.find(1);
        diesel::update(state)
            .set(audit_journal_state::bytes.eq(audit_journal_state::bytes - bytes as i64))
            .execute(connection)?;
        Ok(removed)
    })
}

/// How many rows there are. They are numbered without gaps, so that the ends tell it; to count
/// would read the whole file.
pub(super) fn len(connection: &mut SqliteConnection) -> QueryResult<u64> {
    let sql = "SELECT COALESCE((SELECT MAX(seq) FROM audit_journal) \
               - (SELECT MIN(seq) FROM audit_journal) + 1, 0) AS count";
    let row: Count = diesel::sql_query(sql).get_result(connection)?;
    Ok(row.count as u64)
}

pub(super) fn bytes(connection: &mut SqliteConnection) -> QueryResult<u64> {
    let bytes: i64 = audit_journal_state::table
        .select(audit_journal_state::bytes)
        .first(connection)?;
    Ok(bytes.max(0) as u64)
}

/// The version of the tables, or `None` where there are none.
pub(super) fn version(connection: &mut SqliteConnection) -> QueryResult<Option<i64>> {
    if tables_like(connection, "name = 'audit_journal_state'")? == 0 {
        return Ok(None);
    }
    let version = audit_journal_state::table
        .select(audit_journal_state::version)
        .first(connection)?;
    Ok(Some(version))
}

pub(super) fn has_tables(connection: &mut SqliteConnection) -> QueryResult<bool> {
    tables_like(connection, "name NOT LIKE 'sqlite\\_%' ESCAPE '\\'").map(|count| count > 0)
}

pub(super) fn tables_like(connection: &mut SqliteConnection, condition: &str) -> QueryResult<i64> {
    let sql = format!("SELECT COUNT(*) AS count FROM sqlite_master WHERE {condition}");
    diesel::sql_query(sql)
        .get_result(connection)
        .map(|row: Count| row.count)
}

/// Whether the file's structure is whole.
pub(super) fn is_sound(connection: &mut SqliteConnection) -> QueryResult<bool> {
    let found: Found = diesel::sql_query("PRAGMA quick_check(1)").get_result(connection)?;
    Ok(found.quick_check == "ok")
}

/// Moves what the write-ahead log holds into the file, as far as nobody has to be waited for.
pub(super) fn checkpoint(connection: &mut SqliteConnection) -> QueryResult<()> {
    connection.batch_execute("PRAGMA wal_checkpoint(PASSIVE)")
}

/// Turns on the write-ahead log, and returns the mode that SQLite could give.
pub(super) fn journal_mode_wal(connection: &mut SqliteConnection) -> QueryResult<String> {
    let row: Mode = diesel::sql_query("PRAGMA journal_mode = WAL").get_result(connection)?;
    Ok(row.journal_mode)
}

#[derive(QueryableByName)]
struct Count {
    #[diesel(sql_type = BigInt)]
    count: i64,
}

#[derive(QueryableByName)]
struct Found {
    #[diesel(sql_type = sql_types::Text)]
    quick_check: String,
}

#[derive(QueryableByName)]
struct Mode {
    #[diesel(sql_type = sql_types::Text)]
    journal_mode: String,
}

pub(super) fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// A statement that is nothing but its text.
#[derive(Debug, Clone, Copy)]
struct Text<const BEGINS: bool>;

const BEGIN: Text<true> = Text;
const COMMIT: Text<false> = Text;

impl<const BEGINS: bool> QueryFragment<Sqlite> for Text<BEGINS> {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Sqlite>) -> QueryResult<()> {
        out.push_sql(if BEGINS { "BEGIN IMMEDIATE" } else { "COMMIT" });
        Ok(())
    }
}

impl<const BEGINS: bool> QueryId for Text<BEGINS> {
    type QueryId = Self;
    const HAS_STATIC_QUERY_ID: bool = true;
}

/// Appends a payload in its place among those of a push, if there is room for the push. It takes
/// its number from the state, and `Advance` counts afterwards: an UPDATE with RETURNING makes a
/// temporary table each time.
struct Append<'a> {
    place: i64,
    payload: &'a [u8],
    room_from: i64,
}

impl QueryFragment<Sqlite> for Append<'_> {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Sqlite>) -> QueryResult<()> {
        out.push_sql("INSERT INTO audit_journal (seq, payload) SELECT next_seq + ");
        out.push_bind_param::<BigInt, _>(&self.place)?;
        out.push_sql(", ");
        out.push_bind_param::<Binary, _>(self.payload)?;
        out.push_sql(" FROM audit_journal_state WHERE id = 1 AND bytes <= ");
        out.push_bind_param::<BigInt, _>(&self.room_from)
    }
}

impl QueryId for Append<'_> {
    type QueryId = Append<'static>;
    const HAS_STATIC_QUERY_ID: bool = true;
}

/// Counts a push.
#[derive(QueryId)]
struct Advance {
    count: i64,
    bytes: i64,
}

impl QueryFragment<Sqlite> for Advance {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Sqlite>) -> QueryResult<()> {
        out.push_sql("UPDATE audit_journal_state SET next_seq = next_seq + ");
        out.push_bind_param::<BigInt, _>(&self.count)?;
        out.push_sql(", bytes = bytes + ");
        out.push_bind_param::<BigInt, _>(&self.bytes)?;
        out.push_sql(" WHERE id = 1");
        Ok(())
    }
}

impl<const BEGINS: bool> RunQueryDsl<SqliteConnection> for Text<BEGINS> {}
impl RunQueryDsl<SqliteConnection> for Append<'_> {}
impl RunQueryDsl<SqliteConnection> for Advance {}
