//! SQL that depends on a model alone. Diesel walks a statement several times a run, and to quote
//! each name anew took longer than all else that is done here.

use std::any::TypeId;
use std::collections::HashMap;
use std::sync::{LazyLock, PoisonError, RwLock};

/// A text of each model, written once and kept for good: there are no more than models.
pub(super) struct Texts<T: 'static>(LazyLock<RwLock<HashMap<TypeId, &'static T>>>);

impl<T> Texts<T> {
    pub(super) const fn new() -> Self {
        Self(LazyLock::new(RwLock::default))
    }

    /// The text of the model `M`, where it was written before.
    pub(super) fn known<M: 'static>(&self) -> Option<&'static T> {
        let known = self.0.read().unwrap_or_else(PoisonError::into_inner);
        known.get(&TypeId::of::<M>()).copied()
    }

    /// The text of the model `M`.
    pub(super) fn of<M: 'static>(&self, write: impl FnOnce() -> T) -> &'static T {
        let model = TypeId::of::<M>();
        // An entry is complete before it is put there.
        let known = self.0.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(text) = known.get(&model) {
            return text;
        }
        drop(known);
        let text = write();
        let mut known = self.0.write().unwrap_or_else(PoisonError::into_inner);
        known
            .entry(model)
            .or_insert_with(|| Box::leak(Box::new(text)))
    }
}
