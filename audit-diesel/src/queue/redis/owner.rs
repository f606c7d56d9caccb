//! Whose records a list carries, as far as this process knows.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use audit_core::QueueOwner;

/// How well the owner is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Known {
    /// Records come from this database, and most trails are in the same one.
    Assumed,
    /// Records are stored in this database.
    Certain,
    /// The application says so.
    Named,
}

/// The audit database that a list has to belong to.
#[derive(Debug, Default)]
pub(super) struct Ownership(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    owner: Option<(Arc<str>, Known)>,
    /// Under which name the list was claimed.
    claimed: Option<Arc<str>>,
}

impl Ownership {
    /// Of a database that the application gives a name.
    pub(super) fn named(name: Option<String>) -> Self {
        let owner = name.map(|name| (name.into(), Known::Named));
        Self(Mutex::new(State {
            owner,
            claimed: None,
        }))
    }

    pub(super) fn name(&self) -> Option<Arc<str>> {
        self.lock().owner.as_ref().map(|(name, _)| Arc::clone(name))
    }

    /// The application gives the database a name, or the other name that it has given before.
    pub(super) fn name_it(&self, name: &str) -> Result<(), Arc<str>> {
        self.set(name, Known::Named)
    }

    /// Takes what is found out, or says which other database that contradicts.
    pub(super) fn learn(&self, owner: &QueueOwner) -> Result<(), Arc<str>> {
        let known = match owner.is_certain {
            true => Known::Certain,
            false => Known::Assumed,
        };
        self.set(&owner.name, known)
    }

    fn set(&self, name: &str, known: Known) -> Result<(), Arc<str>> {
        let mut state = self.lock();
        match &state.owner {
            Some((_, before)) if *before > known => return Ok(()),
            Some((other, before)) if *before == known && **other != *name => {
                // An application may have connections to many databases.
                return match known {
                    Known::Assumed => Ok(()),
                    _ => Err(Arc::clone(other)),
                };
            }
            _ => state.owner = Some((name.into(), known)),
        }
        Ok(())
    }

    /// The list was found, or made, to be this one's.
    pub(super) fn note_claim(&self, name: &str) {
        self.lock().claimed = Some(name.into());
    }

    pub(super) fn claimed(&self) -> Option<Arc<str>> {
        self.lock().claimed.clone()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owner(name: &str, is_certain: bool) -> QueueOwner {
        let name = name.to_owned();
        QueueOwner { name, is_certain }
    }

    #[test]
    fn what_is_certain_replaces_what_was_assumed_and_a_name_replaces_both() {
        let ownership = Ownership::default();
        let name = || ownership.name().map(|name| name.to_string());
        assert_eq!(name(), None);
        assert_eq!(ownership.learn(&owner("app", false)), Ok(()));
        assert_eq!(ownership.learn(&owner("tenant", false)), Ok(()));
        assert_eq!(name().as_deref(), Some("app"));
        assert_eq!(ownership.learn(&owner("trail", true)), Ok(()));
        assert_eq!(ownership.learn(&owner("app", false)), Ok(()));
        assert_eq!(name().as_deref(), Some("trail"));
        assert_eq!(ownership.learn(&owner("other", true)), Err("trail".into()));
        assert_eq!(ownership.name_it("staging"), Ok(()));
        assert_eq!(ownership.learn(&owner("other", true)), Ok(()));
        assert_eq!(ownership.name_it("production"), Err("staging".into()));
        assert_eq!(name().as_deref(), Some("staging"));
    }
}
