//! The exempt blocks of a connection.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Whether a connection is inside an exempt block, and what ran there.
#[derive(Debug, Default)]
pub(crate) struct Exempt {
    depth: AtomicU64,
    statements: AtomicU64,
}

impl Exempt {
    pub(crate) fn is_in_force(&self) -> bool {
        self.depth.load(Relaxed) > 0
    }

    pub(crate) fn count_anew(&self) {
        self.statements.store(0, Relaxed);
    }

    pub(crate) fn statements(&self) -> u64 {
        self.statements.load(Relaxed)
    }

    pub(super) fn count_statement(&self) {
        if self.is_in_force() {
            self.statements.fetch_add(1, Relaxed);
        }
    }
}

/// Keeps a block in force until it is dropped, by a panic too.
pub(crate) struct Block(Arc<Exempt>);

impl Block {
    pub(crate) fn enter(state: &Arc<Exempt>) -> Self {
        state.depth.fetch_add(1, Relaxed);
        Self(Arc::clone(state))
    }
}

impl Drop for Block {
    fn drop(&mut self) {
        self.0.depth.fetch_sub(1, Relaxed);
    }
}
