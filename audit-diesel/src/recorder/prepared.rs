use std::any::TypeId;
use std::collections::HashMap;
use std::fmt;

/// How many forms of one model's statements a connection keeps prepared.
///
/// A changeset or a new row with optional fields has a form for each set of fields that are given,
/// and neither Diesel nor PostgreSQL ever forgets a prepared statement.
const MOST_FORMS: u32 = 256;

/// What else than its own SQL decides how a statement is prepared.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PlanVersion {
    /// How often a connection of the auditor has found that a prepared statement is out of date.
    pub(super) stale_plans: u32,
    /// The types of the relation's columns; 0: those that the connection saw first.
    pub(super) types: u64,
}

impl fmt::Display for PlanVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:x} {:x}", self.stale_plans, self.types)
    }
}

/// Counts what Diesel has put into a connection's cache of prepared statements for us.
#[derive(Debug, Default)]
pub(crate) struct PreparedForms {
    of_models: HashMap<TypeId, u32>,
    /// Prepared since the last count.
    new: u32,
}

impl PreparedForms {
    /// The connection has prepared a statement for its cache.
    pub(super) fn one_more(&mut self) {
        self.new += 1;
    }

    /// Whether statements of this model may use the cache. One with very many forms is prepared
    /// anew each time, as Diesel does with its own.
    pub(crate) fn has_room<M: 'static>(&mut self) -> bool {
        self.new = 0;
        let forms = self.of_models.get(&TypeId::of::<M>());
        forms.is_none_or(|forms| *forms < MOST_FORMS)
    }

    /// What was prepared since [`has_room`](Self::has_room) was of this model.
    pub(crate) fn count_new<M: 'static>(&mut self) {
        if self.new > 0 {
            *self.of_models.entry(TypeId::of::<M>()).or_default() += self.new;
        }
    }
}
