//! What the guard asks of the auditor.

use super::Auditor;
use crate::guard::{GuardMode, GuardedTables, RawWrite};
use crate::log::log;

impl Auditor {
    /// The tables that raw writes are looked for, beside the trail's own; none where the guard is
    /// off.
    pub(crate) fn guarded_tables(&self) -> Option<&GuardedTables> {
        let settings = &self.shared.settings;
        (settings.guard_mode != GuardMode::Off).then_some(&settings.guarded)
    }

    pub(crate) fn guard_mode(&self) -> GuardMode {
        self.shared.settings.guard_mode
    }

    /// Counts raw writes to audited tables, and says them aloud.
    pub(crate) fn unaudited_writes(&self, writes: &[RawWrite]) {
        self.shared.counters.unaudited_writes(writes.len());
        for write in writes {
            log!(
                warn,
                table = write.table,
                verb = write.verb,
                "an unaudited write"
            );
        }
    }
}
