//! The delivery modes by their names.

use audit_diesel::Delivery;

use crate::args::Args;

/// The default, which has a window.
pub const AFTER_COMMIT: &str = "after_commit";
/// Settled by asking PostgreSQL.
pub const PREPARED: &str = "prepared";
/// Stored in the user's own transaction.
pub const TRANSACTIONAL: &str = "transactional";

/// What the command line asks for.
///
/// # Panics
///
/// When it is no mode.
pub fn of(args: &Args) -> Delivery {
    match args.text("mode") {
        None | Some(AFTER_COMMIT) => Delivery::AfterCommit,
        Some(PREPARED) => Delivery::Prepared,
        Some(TRANSACTIONAL) => Delivery::Transactional,
        Some(other) => panic!("--mode {other}: unknown"),
    }
}

/// The mode of a round, where none is asked for: the default is played most.
pub fn of_round(round: u64) -> &'static str {
    [AFTER_COMMIT, PREPARED, AFTER_COMMIT, TRANSACTIONAL][(round % 4) as usize]
}
