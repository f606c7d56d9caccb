//! What the connection was told about the relations behind its models' table names, and when that
//! has to be asked anew.
//!
//! Which relation a name means depends on the search path, and what a user may see on the role: what
//! was told is kept for each setting of these that went over this connection. Other sessions can
//! change tables meanwhile, so whatever would do harm is checked by the statement itself once more
//! (`statement/postgres/unique_key.rs`).

use std::any::TypeId;
use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};

use crate::relation::Relation;
use crate::sql::Words;

/// More than this many answers are forgotten at once: one for each model, tenant and role.
const MOST_ANSWERS: usize = 4096;

/// After so many prepared statements whose results had changed their types, nothing is kept prepared
/// any more: the search path goes back and forth between tables of different types.
const MOST_STALE_PLANS: u32 = 8;

/// What decides which relation a name means, as far as this connection's own SQL tells.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Hash)]
struct Names {
    path: u64,
    role: u64,
}

/// What the connection was told about relations.
#[derive(Debug, Default)]
pub(crate) struct Relations {
    known: HashMap<(TypeId, Names), Relation>,
    names: Names,
    /// What ROLLBACK takes the names back to.
    names_at_begin: Names,
    /// Set by `SET LOCAL`, which COMMIT takes back as well.
    has_local_names: bool,
    /// Counts what this connection did to the types of columns.
    retyped: u32,
    stale_plans: u32,
}

impl Relations {
    /// What was told about the table of this model.
    pub(crate) fn of<M: 'static>(&self) -> Option<Relation> {
        let key = (TypeId::of::<M>(), self.names);
        self.known.get(&key).copied()
    }

    /// Keeps what was told about the table of this model.
    pub(crate) fn keep<M: 'static>(&mut self, relation: Relation) {
        if self.known.len() >= MOST_ANSWERS {
            self.known.clear();
        }
        let key = (TypeId::of::<M>(), self.names);
        self.known.insert(key, relation);
    }

    /// What was told about the table of this model is true no longer.
    #[cfg(feature = "postgres")]
    pub(crate) fn forget<M: 'static>(&mut self) {
        self.known
            .retain(|(model, _), _| *model != TypeId::of::<M>());
    }

    /// How often this connection changed the types of columns.
    pub(super) fn retyped(&self) -> u32 {
        self.retyped
    }

    /// A prepared statement could not be run any more.
    pub(super) fn one_more_stale_plan(&mut self) {
        self.stale_plans = self.stale_plans.saturating_add(1);
    }

    /// Whether statements are worth keeping prepared.
    pub(super) fn keeps_plans(&self) -> bool {
        self.stale_plans < MOST_STALE_PLANS
    }

    /// Takes note of a statement that runs, which begins with the word `first`.
    pub(super) fn note(&mut self, first: &str, statement: &str) {
        let is = |words: &[&str]| words.iter().any(|word| first.eq_ignore_ascii_case(word));
        if is(&["create", "alter", "drop"]) {
            self.known.clear();
            let has = |wanted| has_word(statement, wanted);
            // `ALTER … TYPE`, or another table in the place of the one that is dropped.
            self.retyped += u32::from(has("type") || (is(&["drop"]) && has("table")));
        } else if is(&["set", "reset", "discard"]) {
            self.note_setting(statement);
        } else if is(&["begin", "start"]) {
            self.names_at_begin = self.names;
            self.has_local_names = false;
        } else if (is(&["rollback", "abort"]) && !has_word(statement, "to"))
            || (is(&["commit", "end"]) && std::mem::take(&mut self.has_local_names))
        {
            self.names = self.names_at_begin;
        }
    }

    fn note_setting(&mut self, statement: &str) {
        let has = |wanted: &[&str]| wanted.iter().any(|wanted| has_word(statement, wanted));
        let mut hasher = DefaultHasher::new();
        statement.hash(&mut hasher);
        let text = hasher.finish();
        let all = has(&["all"]);
        if all || has(&["search_path", "schema"]) {
            self.names.path = text;
        }
        if all || has(&["role", "authorization", "row_security"]) {
            self.names.role = text;
        }
        self.has_local_names |= has(&["local"]);
    }
}

fn has_word(statement: &str, wanted: &str) -> bool {
    Words::new(statement).any(|word| word.eq_ignore_ascii_case(wanted))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::relation::RelationKind;

    struct Model;

    fn note(relations: &mut Relations, statement: &str) {
        let first = Words::new(statement).next().unwrap_or_default();
        relations.note(first, statement);
    }

    fn told() -> Relations {
        let mut relations = Relations::default();
        relations.keep::<Model>(Relation::ordinary(RelationKind::Table));
        relations
    }

    fn knows(relations: &Relations) -> bool {
        relations.of::<Model>().is_some()
    }

    #[test]
    fn what_was_told_is_of_one_search_path_and_role() {
        for setting in [
            "SET search_path TO b",
            "SET SCHEMA 'b'",
            "SET ROLE bob",
            "set session authorization bob",
            "DISCARD ALL",
            "RESET search_path",
        ] {
            let relations = &mut told();
            note(relations, setting);
            assert!(!knows(relations), "{setting}");
        }
        let relations = &mut told();
        note(relations, "SET search_path TO b");
        relations.keep::<Model>(Relation::ordinary(RelationKind::View));
        note(relations, "SET search_path TO c");
        assert!(!knows(relations));
        note(relations, "SET search_path TO b");
        assert!(knows(relations));
        note(relations, "SET statement_timeout = 5");
        assert!(knows(relations));
    }

    #[test]
    fn the_end_of_a_transaction_takes_settings_back() {
        for (setting, end, back) in [
            ("SET LOCAL search_path = b", "COMMIT", true),
            ("SET LOCAL search_path = b", "ROLLBACK", true),
            ("SET search_path = b", "ROLLBACK", true),
            ("SET search_path = b", "ROLLBACK TO SAVEPOINT a", false),
            ("SET search_path = b", "COMMIT", false),
        ] {
            let relations = &mut told();
            note(relations, "BEGIN");
            note(relations, setting);
            note(relations, end);
            assert_eq!(knows(relations), back, "{setting}; {end}");
        }
    }

    #[test]
    fn a_table_that_is_changed_is_asked_about_anew() {
        for (statement, retyped) in [
            ("ALTER TABLE t DROP CONSTRAINT t_pkey", 0),
            ("ALTER TABLE t ALTER n TYPE bigint", 1),
            ("DROP TABLE t", 1),
            ("CREATE TEMP TABLE t (id int)", 0),
        ] {
            let relations = &mut told();
            note(relations, statement);
            assert!(!knows(relations), "{statement}");
            assert_eq!(relations.retyped(), retyped, "{statement}");
        }
    }
}
