//! The journal: what it survives, and what it refuses to be.

mod bounds;
mod damage;
mod opening;
mod processes;
mod sharing;
mod support;
