//! Pages on subjects that belong to no single item.

#[doc = include_str!("../docs/guarantees.md")]
pub mod guarantees {}

#[doc = include_str!("../docs/nobody-forgets.md")]
pub mod nobody_forgets {}

#[doc = include_str!("../docs/performance.md")]
pub mod performance {}
