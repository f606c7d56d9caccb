//! The application that the suite writes with: one audited table, and a trigger that says what
//! the database kept.

use audit_diesel::Auditable;
use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use diesel_migrations::MigrationHarness;

diesel::table! {
    accounts (id) {
        id -> BigInt,
        stamp -> Text,
        version -> BigInt,
        balance -> BigInt,
        note -> Nullable<Text>,
        api_token -> Text,
        seen -> BigInt,
        visits -> BigInt,
    }
}

diesel::table! {
    truth (seq) {
        seq -> BigInt,
        op -> Text,
        action -> Text,
        row_id -> BigInt,
        old -> Nullable<Jsonb>,
        new -> Nullable<Jsonb>,
    }
}

#[derive(Debug, Clone, Queryable, Selectable, Identifiable, AsChangeset, Auditable)]
#[diesel(table_name = accounts)]
pub struct Account {
    pub id: i64,
    /// Of the statement that wrote the row last; unique in a run.
    pub stamp: String,
    /// Counts the writes of the row that were kept.
    pub version: i64,
    pub balance: i64,
    pub note: Option<String>,
    #[audit(redact)]
    pub api_token: String,
    #[audit(touch)]
    pub seen: i64,
    #[audit(skip)]
    pub visits: i64,
}

#[derive(Debug, Insertable)]
#[diesel(table_name = accounts)]
pub struct NewAccount<'a> {
    pub stamp: &'a str,
    pub balance: i64,
    pub note: Option<&'a str>,
}

/// `truth` is filled in by the database itself, in the transaction of the write: what stands there
/// was kept, with the values that it had under the row's lock. Neither the library nor the writer
/// has a say in it, except for the name of the operation.
const TABLES: &str = "
CREATE TABLE accounts (
    id bigserial PRIMARY KEY,
    stamp text NOT NULL,
    version bigint NOT NULL DEFAULT 0,
    balance bigint NOT NULL DEFAULT 0 CHECK (balance >= 0),
    note text,
    api_token text NOT NULL DEFAULT 'a token that never leaves',
    seen bigint NOT NULL DEFAULT 0,
    visits bigint NOT NULL DEFAULT 0
);
CREATE TABLE truth (
    seq bigserial PRIMARY KEY,
    op text NOT NULL,
    action text NOT NULL,
    row_id bigint NOT NULL,
    old jsonb,
    new jsonb
);
CREATE FUNCTION tell() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO truth (op, action, row_id, old, new) VALUES (
        current_setting('chaos.op'), lower(TG_OP), COALESCE(NEW.id, OLD.id),
        to_jsonb(OLD), to_jsonb(NEW)
    );
    RETURN NULL;
END $$;
CREATE TRIGGER tell AFTER INSERT OR UPDATE OR DELETE ON accounts
    FOR EACH ROW EXECUTE FUNCTION tell();
CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'refused at COMMIT';
END $$;
CREATE CONSTRAINT TRIGGER refuse AFTER UPDATE ON accounts DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW WHEN (NEW.note = 'refuse') EXECUTE FUNCTION refuse();
";

/// How many rows there are at the start; few, so that writers meet.
pub const ROWS: i64 = 24;

/// Makes the tables, and the rows that writers begin with. Those are not audited.
///
/// # Panics
///
/// When the database refuses.
pub fn set_up(conn: &mut PgConnection) {
    conn.run_pending_migrations(audit_diesel::postgres::MIGRATIONS)
        .expect("the audit tables");
    conn.batch_execute(TABLES).expect("the tables");
    conn.batch_execute(&format!(
        "ALTER TABLE accounts DISABLE TRIGGER tell;
         INSERT INTO accounts (stamp, balance) SELECT 'start', 1000 FROM generate_series(1, {ROWS});
         ALTER TABLE accounts ENABLE TRIGGER tell;"
    ))
    .expect("the first rows");
}
