//! The trail in PostgreSQL: tables, migrations and the three questions that are asked most.

super::tables::audit_tables! {
    backend: diesel::pg::Pg,
    uuid: Uuid as uuid::Uuid,
    timestamp: Timestamptz,
    json: Jsonb,
    migrations: "migrations/postgres",
}
