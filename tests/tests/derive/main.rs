//! What `#[derive(Auditable)]` writes, seen through the records of values. No database.

mod diesel_attributes;
mod embedding;
mod forms;
mod generics;
mod keys;
mod model;
mod schema;
mod serde_attributes;
mod support;
mod updated_at;
mod values;
