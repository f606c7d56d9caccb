use audit_tests::app::postgres::*;

/// Makes the table refuse records whose action begins with "bad", with no telling kind of error.
pub const REFUSE_BAD: &str = "
    CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS
        'BEGIN RAISE EXCEPTION ''the trigger refuses it''; END';
    CREATE TRIGGER refuse BEFORE INSERT ON audit_logs FOR EACH ROW
        WHEN (NEW.action LIKE 'bad%') EXECUTE FUNCTION refuse();";

#[path = "ahead.rs"]
pub mod ahead;
#[path = "batches.rs"]
mod batches;
#[path = "flushing.rs"]
mod flushing;
#[path = "helpers.rs"]
pub mod helpers;
#[path = "life.rs"]
mod life;
#[path = "refusals.rs"]
mod refusals;
