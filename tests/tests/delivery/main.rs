//! What Redis loses, and what it keeps waiting: the journal and the memory in front of it.

mod buffered;
mod confirmed;
mod faults;
mod figures;
mod forged;
mod owner;
mod poison;
mod shared;
mod status;
mod support;
mod suspended;
mod unwritable;
