use audit_tests::app::postgres::*;

/// Makes the table refuse records whose action begins with "bad", with no telling kind of error.
pub const REFUSE_BAD: &str = "
    CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS
        'BEGIN RAISE EXCEPTION ''the trigger refuses it''; END';
    CREATE TRIGGER refuse BEFORE INSERT ON audit_logs FOR EACH ROW
        WHEN (NEW.action LIKE 'bad%') EXECUTE FUNCTION refuse();";

/// Makes up for the column that was dropped.
pub const ADD_DIGEST: &str = "ALTER TABLE audit_logs ADD COLUMN digest bytea";

/// Makes the table refuse whatever comes, and makes it take records again.
pub const REFUSE_ALL: [(&str, &str); 2] = [
    (
        "CREATE FUNCTION refuse_all() RETURNS trigger LANGUAGE plpgsql AS
             'BEGIN RAISE EXCEPTION ''closed today''; END';
         CREATE TRIGGER refuse_all BEFORE INSERT ON audit_logs FOR EACH ROW
             EXECUTE FUNCTION refuse_all();",
        "DROP TRIGGER refuse_all ON audit_logs",
    ),
    (
        "CREATE FUNCTION drop_all() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
         CREATE TRIGGER drop_all BEFORE INSERT ON audit_logs FOR EACH ROW
             EXECUTE FUNCTION drop_all();",
        "DROP TRIGGER drop_all ON audit_logs",
    ),
];

#[path = "ahead.rs"]
pub mod ahead;
#[path = "batches.rs"]
mod batches;
#[path = "flushing.rs"]
mod flushing;
#[path = "forged.rs"]
mod forged;
#[path = "helpers.rs"]
pub mod helpers;
#[path = "life.rs"]
mod life;
#[path = "refusals.rs"]
mod refusals;
