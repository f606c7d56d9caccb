//! The trail in SQLite: tables, migrations and the three questions that are asked most.

use std::borrow::Borrow;

use super::EntryToStore;

super::tables::audit_tables! {
    backend: diesel::sqlite::Sqlite,
    connection: diesel::SqliteConnection,
    uuid: Text as String, "text",
    timestamp: TimestamptzSqlite,
    json: Json, "text",
    migrations: "migrations/sqlite",
}

/// Inserts new rows.
pub(crate) fn insert<E: Borrow<EntryToStore>>(
    conn: &mut diesel::SqliteConnection,
    entries: &[E],
) -> QueryResult<usize> {
    let mut inserted = 0;
    for entry in entries {
        inserted += diesel::insert_into(audit_logs::table)
            .values(NewAuditLog::new(entry.borrow()))
            .execute(conn)?;
    }
    Ok(inserted)
}
