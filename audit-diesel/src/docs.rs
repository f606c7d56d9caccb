//! Pages on subjects that belong to no single item.

#[doc = include_str!("../docs/guarantees.md")]
pub mod guarantees {}

#[doc = include_str!("../docs/nobody-forgets.md")]
pub mod nobody_forgets {}

#[doc = include_str!("../docs/roles.md")]
pub mod roles {}

#[doc = include_str!("../docs/relations.md")]
pub mod relations {}

#[doc = include_str!("../docs/threats.md")]
pub mod threats {}

// The first definition of a link counts, and here the plots are on the page itself.
#[doc = "[latency plot]: #plots\n[drain plot]: #plots\n"]
#[doc = include_str!("../docs/performance.md")]
#[doc = "\n# Plots\n"]
#[doc = include_str!("../docs/latency.svg")]
#[doc = ""]
#[doc = include_str!("../docs/drain.svg")]
pub mod performance {}
