//! The trail in PostgreSQL: tables, migrations and the three questions that are asked most.

use std::borrow::Borrow;

use super::EntryToStore;

super::tables::audit_tables! {
    backend: diesel::pg::Pg,
    connection: diesel::PgConnection,
    uuid: Uuid as uuid::Uuid, "uuid",
    timestamp: Timestamptz,
    json: Jsonb, "jsonb",
    migrations: "migrations/postgres",
}

/// PostgreSQL takes 65,535 binds a statement, and a row has 20 columns that are bound.
pub(crate) const ROWS_A_STATEMENT: usize = 3_000;

/// Whether the columns of `audit_logs` have the types that they are declared with. COPY sends values in
/// binary form and looks at no type: what is `jsonb` here would be garbage in a column of `text`.
pub(crate) const HAS_DECLARED_TYPES: &str = "(
    SELECT count(*) = 20 FROM pg_attribute
    WHERE attrelid = 'audit_logs'::regclass AND NOT attisdropped
      AND (attname::text, atttypid::regtype) IN (
          ('id', 'uuid'::regtype), ('occurred_at', 'timestamptz'::regtype),
          ('transaction_id', 'uuid'::regtype), ('transaction_seq', 'integer'::regtype),
          ('changes', 'jsonb'::regtype), ('extra', 'jsonb'::regtype),
          ('action', 'text'::regtype), ('outcome', 'text'::regtype),
          ('resource_type', 'text'::regtype), ('resource_id', 'text'::regtype),
          ('actor_type', 'text'::regtype), ('actor_id', 'text'::regtype),
          ('organization', 'text'::regtype), ('project', 'text'::regtype),
          ('request_id', 'text'::regtype), ('ip', 'text'::regtype),
          ('source', 'text'::regtype), ('api_key_id', 'text'::regtype),
          ('oauth_client_id', 'text'::regtype), ('digest', 'bytea'::regtype)))";

/// Inserts new rows, by plain INSERT.
pub(crate) fn insert<E: Borrow<EntryToStore>>(
    conn: &mut diesel::PgConnection,
    entries: &[E],
) -> QueryResult<usize> {
    if let [entry] = entries {
        // Diesel keeps this one prepared, and no insert of many rows.
        return diesel::insert_into(audit_logs::table)
            .values(NewAuditLog::new(entry.borrow()))
            .execute(conn);
    }
    let mut inserted = 0;
    for entries in entries.chunks(ROWS_A_STATEMENT) {
        let rows: Vec<_> = entries
            .iter()
            .map(|e| NewAuditLog::new(e.borrow()))
            .collect();
        inserted += diesel::insert_into(audit_logs::table)
            .values(&rows)
            .execute(conn)?;
    }
    Ok(inserted)
}
