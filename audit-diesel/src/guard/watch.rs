use super::read::raw_writes;
use super::{GuardedTables, RawWrite};
use crate::dialect::Dialect;
use crate::sql::Words;

/// What the guard has seen on one connection.
///
/// Diesel's migrations write as they like. They are recognised by the table that Diesel keeps of
/// them: it is read before a migration's transaction, and written inside it, or right after the text
/// of a migration without one.
#[derive(Debug, Default)]
pub(crate) struct Watch {
    phase: Phase,
    /// Writes of a transaction that may turn out to be a migration's.
    held: Vec<RawWrite>,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Phase {
    #[default]
    Work,
    /// The latest statement was about Diesel's table of migrations.
    MigrationsLookedUp,
    /// A transaction was begun right after that, or a text sent that writes.
    PerhapsMigration,
    /// And then Diesel's table of migrations was written.
    Migration,
}

/// What a text does to the transaction, as far as the guard cares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Bounds {
    Begins,
    Ends,
    Neither,
}

/// Where Diesel keeps which migrations ran.
const MIGRATIONS_TABLE: &str = "__diesel_schema_migrations";

impl Watch {
    /// The raw writes to be acted on when this text is about to run, in a transaction or by itself.
    pub(crate) fn look(
        &mut self,
        sql: &str,
        bounds: Bounds,
        in_transaction: bool,
        tables: &GuardedTables,
        dialect: Dialect,
    ) -> Vec<RawWrite> {
        let names_migrations = sql.contains(MIGRATIONS_TABLE);
        let mut writes = match in_transaction || names_migrations {
            true => Vec::new(),
            false => self.was_alone(),
        };
        let before = self.phase;
        writes.extend(match bounds {
            Bounds::Begins if before == Phase::MigrationsLookedUp => {
                self.phase = Phase::PerhapsMigration;
                self.statement(sql, tables, dialect)
            }
            Bounds::Ends => {
                let mut writes = self.statement(sql, tables, dialect);
                writes.append(&mut self.held);
                self.phase = match before {
                    Phase::Migration | Phase::MigrationsLookedUp => Phase::MigrationsLookedUp,
                    _ => Phase::Work,
                };
                writes
            }
            _ if names_migrations => self.migrations_named(sql),
            _ => self.statement(sql, tables, dialect),
        });
        writes
    }

    /// What came before was in no transaction: its end is known by now.
    fn was_alone(&mut self) -> Vec<RawWrite> {
        self.phase = match self.phase {
            Phase::Migration => Phase::MigrationsLookedUp,
            Phase::PerhapsMigration => Phase::Work,
            phase => phase,
        };
        std::mem::take(&mut self.held)
    }

    /// The raw writes to be acted on as the query is one that Diesel built: a migration is text, and
    /// Diesel's own query after it names the table of migrations.
    pub(crate) fn saw_prepared(&mut self) -> Vec<RawWrite> {
        if self.phase == Phase::PerhapsMigration && !self.held.is_empty() {
            self.phase = Phase::Work;
        }
        match self.phase {
            Phase::Work => std::mem::take(&mut self.held),
            _ => Vec::new(),
        }
    }

    fn migrations_named(&mut self, sql: &str) -> Vec<RawWrite> {
        let first = Words::new(sql).next().unwrap_or_default();
        let notes = ["insert", "delete"].map(|verb| first.eq_ignore_ascii_case(verb));
        match self.phase {
            Phase::PerhapsMigration if notes.contains(&true) => self.phase = Phase::Migration,
            Phase::Migration => {}
            _ => {
                self.phase = Phase::MigrationsLookedUp;
                return std::mem::take(&mut self.held);
            }
        }
        self.held.clear();
        Vec::new()
    }

    fn statement(&mut self, sql: &str, tables: &GuardedTables, dialect: Dialect) -> Vec<RawWrite> {
        let writes = raw_writes(sql, tables, dialect);
        match self.phase {
            Phase::Migration => Vec::new(),
            Phase::MigrationsLookedUp if !writes.is_empty() => {
                self.phase = Phase::PerhapsMigration;
                self.held.extend(writes);
                Vec::new()
            }
            Phase::PerhapsMigration => {
                self.held.extend(writes);
                Vec::new()
            }
            Phase::MigrationsLookedUp | Phase::Work => {
                self.phase = Phase::Work;
                writes
            }
        }
    }
}
