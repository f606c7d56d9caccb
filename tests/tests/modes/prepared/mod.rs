//! Records that are written down before COMMIT: whatever happens around it, PostgreSQL decides.

mod crashes;
mod doubts;
mod ends;
mod process;
mod programs;
mod savepoints;
pub(crate) mod setup;
mod unknowable;
