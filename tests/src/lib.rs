//! Harness.

pub mod foreign_schema;

#[doc = include_str!("../../audit-derive/src/auditable.md")]
#[cfg(doctest)]
pub mod derive_documentation {}
