//! The journal: what it survives, and what it refuses to be.

mod bounds;
mod damage;
mod opening;
mod processes;
mod segments;
mod sharing;
mod support;
