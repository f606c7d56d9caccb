//! The trail in SQLite: tables, migrations and the three questions that are asked most.

super::tables::audit_tables! {
    backend: diesel::sqlite::Sqlite,
    connection: diesel::SqliteConnection,
    uuid: Text as String,
    timestamp: TimestamptzSqlite,
    json: Json,
    migrations: "migrations/sqlite",
}

/// Inserts new rows.
pub(crate) fn insert(
    conn: &mut diesel::SqliteConnection,
    entries: &[super::EntryToStore],
) -> QueryResult<()> {
    for entry in entries {
        diesel::insert_into(audit_logs::table)
            .values(NewAuditLog::new(entry))
            .execute(conn)?;
    }
    Ok(())
}
