//! Records that are written down before COMMIT: whatever happens around it, PostgreSQL decides.

mod crashes;
mod doubts;
mod ends;
mod setup;
mod unknowable;
