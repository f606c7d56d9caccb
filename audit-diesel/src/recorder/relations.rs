//! What the connection was told about the relations behind its models' table names, and when that
//! has to be asked anew.
//!
//! Which relation a name means depends on the search path, and what a user may see on the role: what
//! was told is kept for each setting of these that went over this connection. Other sessions can
//! change tables meanwhile, so whatever would do harm is checked by the statement itself once more
//! (`statement/postgres/unique_key.rs`).

mod names;

use std::any::TypeId;
use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};

use crate::relation::Relation;
use crate::sql::Words;
pub(in crate::recorder) use names::End;
use names::{Names, Settings};

/// More than this many answers are forgotten at once: one for each model, tenant and role.
const MOST_ANSWERS: usize = 4096;

/// After so many prepared statements whose results had changed their types, nothing is kept prepared
/// any more: somebody changes tables all the time, or the search path, in ways that are not seen.
const MOST_STALE_PLANS: u32 = 8;

/// Statements by which a name may mean another relation, or a relation become another one.
const CHANGES: [&str; 10] = [
    "create", "alter", "drop", "attach", "detach", "grant", "revoke", "import", "do", "call",
];

/// What the connection was told about relations.
#[derive(Debug, Default)]
pub(crate) struct Relations {
    known: HashMap<(TypeId, Names), Known>,
    settings: Settings,
    /// The types of each model's columns when they were first asked for.
    first_types: HashMap<TypeId, u64>,
    /// Whether the open transaction may have changed a relation, which its end may take back.
    has_changes: bool,
    /// Whether the query that runs begins a transaction.
    begins: bool,
    /// Whether the query that runs changes a setting.
    sets: bool,
    stale_plans: u32,
}

#[derive(Debug, Clone, Copy)]
struct Known {
    relation: Relation,
    /// The version of the schema that it was told of, where the database has one.
    version: Option<i32>,
}

impl Relations {
    /// What was told about the table of this model, while the schema has this version.
    pub(crate) fn of<M: 'static>(&self, version: Option<i32>) -> Option<Relation> {
        let known = self.known_of::<M>();
        known
            .filter(|it| it.version == version)
            .map(|it| it.relation)
    }

    /// What was told last about the table of this model.
    pub(crate) fn latest<M: 'static>(&self) -> Option<Relation> {
        self.known_of::<M>().map(|known| known.relation)
    }

    /// Whether what was told is compared with the schema's version each time.
    pub(crate) fn is_versioned<M: 'static>(&self) -> bool {
        self.known_of::<M>().is_some_and(|it| it.version.is_some())
    }

    fn known_of<M: 'static>(&self) -> Option<Known> {
        let key = (TypeId::of::<M>(), self.settings.now());
        self.known.get(&key).copied()
    }

    /// Keeps what was told about the table of this model.
    pub(crate) fn keep<M: 'static>(&mut self, relation: Relation, version: Option<i32>) {
        if self.known.len() >= MOST_ANSWERS {
            self.known.clear();
        }
        let model = TypeId::of::<M>();
        self.first_types.entry(model).or_insert(relation.types);
        let key = (model, self.settings.now());
        self.known.insert(key, Known { relation, version });
    }

    /// What was told about the table of this model is true no longer.
    pub(crate) fn forget<M: 'static>(&mut self) {
        self.known
            .retain(|(model, _), _| *model != TypeId::of::<M>());
    }

    /// The types of the columns of this model's table, or 0 where they are those that this connection
    /// saw first.
    pub(super) fn types_since_first<M: 'static>(&self) -> u64 {
        let first = self.first_types.get(&TypeId::of::<M>());
        let types = self.latest::<M>().map(|relation| relation.types);
        match (types, first) {
            (Some(types), Some(first)) if types != *first => types,
            _ => 0,
        }
    }

    /// A prepared statement of this model could not be run any more.
    pub(super) fn one_more_stale_plan<M: 'static>(&mut self) {
        self.stale_plans = self.stale_plans.saturating_add(1);
        self.forget::<M>();
    }

    /// Whether statements are worth keeping prepared.
    pub(super) fn keeps_plans(&self) -> bool {
        self.stale_plans < MOST_STALE_PLANS
    }

    /// Takes note of a statement that runs, which begins with the word `first`.
    pub(super) fn note(&mut self, first: &str, statement: &str, in_transaction: bool) {
        let in_transaction = in_transaction || self.begins;
        let is = |words: &[&str]| words.iter().any(|word| first.eq_ignore_ascii_case(word));
        if is(&["do", "call"]) || statement.contains("set_config") {
            self.settings.unclear(in_transaction);
        }
        if is(&CHANGES) {
            self.known.clear();
            self.has_changes |= in_transaction;
        } else if is(&["set", "reset", "discard"]) {
            if is(&["discard"]) {
                self.known.clear();
            }
            self.sets |= self.settings.note(statement, in_transaction);
        } else if is(&["begin", "start"]) {
            self.begins = true;
        } else if is(&["rollback"]) && has_word(statement, "to") {
            self.forget_changes();
            self.settings.rolled_back_to_savepoint();
        }
    }

    /// The query that ran was answered. One that failed has not set what it says, and where one does
    /// more than that, nobody knows in which transaction it was set.
    pub(super) fn answered(&mut self, failed: bool, controls: usize, in_transaction: bool) {
        if std::mem::take(&mut self.sets) && (failed || controls > 1) {
            self.settings.unclear(in_transaction);
        }
        self.begins = false;
    }

    /// The transaction has ended.
    pub(super) fn ended(&mut self, end: End) {
        match end {
            End::Committed => self.has_changes = false,
            End::RolledBack | End::Unknown => self.forget_changes(),
        }
        self.settings.ended(end);
    }

    /// What the transaction has changed may be taken back.
    fn forget_changes(&mut self) {
        if std::mem::take(&mut self.has_changes) {
            self.known.clear();
        }
    }
}

fn has_word(statement: &str, wanted: &str) -> bool {
    Words::new(statement).any(|word| word.eq_ignore_ascii_case(wanted))
}

fn hash(text: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    text.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::relation::RelationKind;

    struct Model;

    /// Runs each statement, and knows what was told before it.
    #[derive(Default)]
    struct Session {
        relations: Relations,
        in_transaction: bool,
    }

    impl Session {
        fn told() -> Self {
            let mut session = Self::default();
            session.tell(1);
            session
        }

        fn tell(&mut self, types: u64) {
            let relation = Relation {
                types,
                ..Relation::ordinary(RelationKind::Table)
            };
            self.relations.keep::<Model>(relation, None);
        }

        fn run(&mut self, statement: &str) {
            let first = Words::new(statement).next().unwrap_or_default();
            self.relations.note(first, statement, self.in_transaction);
            let end = match statement {
                "COMMIT" => Some(End::Committed),
                "ROLLBACK" | "COMMIT of an aborted one" => Some(End::RolledBack),
                "COMMIT without an answer" => Some(End::Unknown),
                _ => None,
            };
            self.in_transaction = (self.in_transaction || statement == "BEGIN") && end.is_none();
            if let Some(end) = end {
                self.relations.ended(end);
            }
            let failed = statement.ends_with("that fails");
            self.relations.answered(failed, 1, self.in_transaction);
        }

        /// What it was told of what is meant now.
        fn knows(&self) -> Option<u64> {
            let relation = self.relations.of::<Model>(None);
            relation.map(|relation| relation.types)
        }
    }

    #[test]
    fn what_was_told_is_of_one_search_path_and_role() {
        for setting in [
            "SET search_path TO b",
            "SET \"search_path\" = b",
            "SET SESSION search_path = b",
            "SET SCHEMA 'b'",
            "SET ROLE bob",
            "set session authorization bob",
            "SET row_security = off",
            "DISCARD ALL",
            "DISCARD TEMP",
            "SELECT set_config('search_path', 'b', false)",
            "SET search_path TO b that fails",
        ] {
            let session = &mut Session::told();
            session.run(setting);
            assert_eq!(session.knows(), None, "{setting}");
        }
        let session = &mut Session::told();
        session.run("SET search_path TO b");
        session.tell(2);
        session.run("SET search_path TO c");
        assert_eq!(session.knows(), None);
        session.run("SET search_path TO b");
        assert_eq!(session.knows(), Some(2));
        session.run("SET statement_timeout = 5");
        assert_eq!(session.knows(), Some(2));
        for back in [
            "RESET search_path",
            "SET search_path TO DEFAULT",
            "RESET ALL",
        ] {
            session.run("SET search_path TO b");
            session.run(back);
            assert_eq!(session.knows(), Some(1), "{back}");
        }
    }

    #[test]
    fn the_same_words_may_mean_something_else() {
        for (settings, is_known) in [
            (
                &["SET ROLE a", "RESET ALL", "?", "SET ROLE b", "RESET ALL"][..],
                false,
            ),
            (
                &[
                    "SET ROLE a",
                    "?",
                    "SET SESSION AUTHORIZATION bob",
                    "SET ROLE a",
                ],
                false,
            ),
            (
                &[
                    "SET LOCAL search_path = b",
                    "?",
                    "BEGIN",
                    "SET LOCAL search_path = b",
                ],
                false,
            ),
            (
                &[
                    "SET SESSION AUTHORIZATION bob",
                    "?",
                    "RESET SESSION AUTHORIZATION",
                ],
                false,
            ),
            (&["SET ROLE a", "?", "SET ROLE NONE", "SET ROLE a"], true),
        ] {
            let session = &mut Session::default();
            for setting in settings {
                match *setting {
                    "?" => session.tell(7),
                    setting => session.run(setting),
                }
            }
            assert_eq!(session.knows().is_some(), is_known, "{settings:?}");
        }
    }

    #[test]
    fn the_end_of_a_transaction_takes_settings_back() {
        let (path, local) = ("SET search_path = b", "SET LOCAL search_path = b");
        for (within, end, knows) in [
            (&[local][..], "COMMIT", Some(1)),
            (&[local], "ROLLBACK", Some(1)),
            (&[local], "COMMIT without an answer", None),
            (&[path], "ROLLBACK", Some(1)),
            (&[path], "COMMIT of an aborted one", Some(1)),
            (&[path], "COMMIT", Some(2)),
            (&[path, "SET LOCAL search_path = c"], "COMMIT", Some(2)),
            (&[path, "SET LOCAL search_path = c"], "ROLLBACK", Some(1)),
            (&["SAVEPOINT s", path], "ROLLBACK TO s", None),
            (&["SAVEPOINT s", "SELECT 1"], "ROLLBACK TO s", Some(1)),
            (
                &["SELECT set_config('search_path', 'b', true)"],
                "COMMIT",
                None,
            ),
            (
                &["DO $$ BEGIN SET LOCAL search_path = b; END $$"],
                "COMMIT",
                None,
            ),
            (&["CALL set_the_path()"], "COMMIT", None),
            (
                &["SELECT set_config('search_path', 'b', true)"],
                "ROLLBACK",
                Some(1),
            ),
        ] {
            let session = &mut Session::told();
            session.run(path);
            session.tell(2);
            session.run("RESET search_path");
            session.run("BEGIN");
            for statement in within {
                session.run(statement);
            }
            session.run(end);
            assert_eq!(session.knows(), knows, "{within:?}; {end}");
        }
    }

    #[test]
    fn a_relation_that_is_changed_is_asked_about_anew_and_when_that_is_taken_back() {
        for statement in [
            "ALTER TABLE t DROP CONSTRAINT t_pkey",
            "DROP VIEW t",
            "CREATE TEMP TABLE t (id int)",
            "IMPORT FOREIGN SCHEMA a FROM SERVER b INTO c",
            "GRANT SELECT ON t TO bob",
        ] {
            for (end, is_taken_back) in [
                ("COMMIT", false),
                ("ROLLBACK", true),
                ("COMMIT of an aborted one", true),
                ("COMMIT without an answer", true),
                ("ROLLBACK TO s", true),
            ] {
                let session = &mut Session::told();
                session.run("BEGIN");
                session.run(statement);
                assert_eq!(session.knows(), None, "{statement}");
                session.tell(2);
                session.run(end);
                assert_eq!(
                    session.knows().is_none(),
                    is_taken_back,
                    "{statement}; {end}"
                );
            }
        }
    }

    #[test]
    fn what_is_prepared_is_of_the_types_that_a_relation_has() {
        let session = &mut Session::told();
        assert_eq!(session.relations.types_since_first::<Model>(), 0);
        session.run("DROP TABLE another_one");
        session.tell(1);
        assert_eq!(session.relations.types_since_first::<Model>(), 0);
        session.run("ALTER TABLE t RENAME TO u; ALTER TABLE v RENAME TO t");
        session.tell(2);
        assert_eq!(session.relations.types_since_first::<Model>(), 2);
    }
}
