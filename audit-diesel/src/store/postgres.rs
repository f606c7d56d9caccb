//! The trail in PostgreSQL: tables, migrations and the three questions that are asked most.

super::tables::audit_tables! {
    backend: diesel::pg::Pg,
    uuid: Uuid as uuid::Uuid,
    timestamp: Timestamptz,
    json: Jsonb,
    migrations: "migrations/postgres",
}

/// PostgreSQL takes 65,535 binds a statement, and a row has 20 columns.
pub(crate) const ROWS_A_STATEMENT: usize = 3_000;

/// Inserts new rows.
pub(crate) fn insert(
    conn: &mut diesel::PgConnection,
    entries: &[super::EntryToStore],
) -> QueryResult<()> {
    if let [entry] = entries {
        // Diesel keeps this one prepared, and no insert of many rows.
        diesel::insert_into(audit_logs::table)
            .values(NewAuditLog::new(entry))
            .execute(conn)?;
        return Ok(());
    }
    for entries in entries.chunks(ROWS_A_STATEMENT) {
        let rows: Vec<_> = entries.iter().map(NewAuditLog::new).collect();
        diesel::insert_into(audit_logs::table)
            .values(&rows)
            .execute(conn)?;
    }
    Ok(())
}
