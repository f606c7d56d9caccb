//! The trail in SQLite: tables, migrations and the three questions that are asked most.

super::tables::audit_tables! {
    backend: diesel::sqlite::Sqlite,
    uuid: Text as String,
    timestamp: TimestamptzSqlite,
    json: Json,
    migrations: "migrations/sqlite",
}
