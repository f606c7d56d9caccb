use audit_tests::app::sqlite::*;

/// Makes the table refuse records whose action begins with "bad", with no telling kind of error.
pub const REFUSE_BAD: &str = "
    CREATE TRIGGER refuse BEFORE INSERT ON audit_logs FOR EACH ROW
    WHEN NEW.action LIKE 'bad%' BEGIN SELECT RAISE(ABORT, 'the trigger refuses it'); END;";

/// Makes up for the column that was dropped.
pub const ADD_DIGEST: &str = "ALTER TABLE audit_logs ADD COLUMN digest blob";

/// Makes the table refuse whatever comes, and makes it take records again.
pub const REFUSE_ALL: [(&str, &str); 2] = [
    (
        "CREATE TRIGGER refuse_all BEFORE INSERT ON audit_logs
         BEGIN SELECT RAISE(ABORT, 'closed today'); END;",
        "DROP TRIGGER refuse_all",
    ),
    (
        "CREATE TRIGGER drop_all BEFORE INSERT ON audit_logs BEGIN SELECT RAISE(IGNORE); END;",
        "DROP TRIGGER drop_all",
    ),
];

#[path = "ahead.rs"]
mod ahead;
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
