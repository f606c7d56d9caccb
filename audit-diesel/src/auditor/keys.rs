//! The models whose keys were found to tell rows apart.

use std::any::TypeId;
use std::collections::HashSet;
use std::sync::{PoisonError, RwLock};

/// The models whose keys were found to tell rows apart.
#[derive(Debug, Default)]
pub(crate) struct CheckedKeys(RwLock<HashSet<TypeId>>);

impl CheckedKeys {
    pub(crate) fn are_checked<M: 'static>(&self) -> bool {
        let models = self.0.read().unwrap_or_else(PoisonError::into_inner);
        models.contains(&TypeId::of::<M>())
    }

    pub(crate) fn checked<M: 'static>(&self) {
        let mut models = self.0.write().unwrap_or_else(PoisonError::into_inner);
        models.insert(TypeId::of::<M>());
    }
}
