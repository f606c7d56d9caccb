use std::collections::HashMap;

use super::read::{may_write, raw_writes};
use super::{GuardedTables, RawWrite};
use crate::recorder::Dialect;

/// What was found in the SQL texts that had to be parsed, as an application sends the same ones
/// again and again.
#[derive(Debug, Default)]
pub(super) struct Verdicts {
    known: HashMap<Box<str>, Box<[RawWrite]>>,
}

/// An application that has more texts than this builds them anew each time, and knowing them is
/// of no use.
const MAX_TEXTS: usize = 256;

/// Longer texts, such as an INSERT of many rows, are seldom sent twice.
const MAX_TEXT_BYTES: usize = 4096;

impl Verdicts {
    pub(super) fn raw_writes(
        &mut self,
        sql: &str,
        tables: &GuardedTables,
        dialect: Dialect,
    ) -> Vec<RawWrite> {
        if !may_write(sql, tables) {
            return Vec::new();
        }
        if let Some(known) = self.known.get(sql) {
            return known.to_vec();
        }
        let writes = raw_writes(sql, tables, dialect);
        if sql.len() <= MAX_TEXT_BYTES {
            if self.known.len() >= MAX_TEXTS {
                self.known.clear();
            }
            self.known.insert(sql.into(), writes.clone().into());
        }
        writes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_known_text_has_the_same_verdict_and_few_are_kept() {
        let mut tables = GuardedTables::default();
        tables.extend(["users"]);
        let mut verdicts = Verdicts::default();
        let mut look = |sql: &str| {
            let writes = verdicts.raw_writes(sql, &tables, Dialect::Postgres);
            (writes.len(), verdicts.known.len())
        };
        for _ in 0..2 {
            assert_eq!(look("SELECT 1 FROM users"), (0, 0));
            assert_eq!(look("DELETE FROM other"), (0, 0));
        }
        for _ in 0..2 {
            assert_eq!(look("DELETE FROM users"), (1, 1));
        }
        for _ in 0..2 {
            assert_eq!(look("INSERT INTO other SELECT * FROM users"), (0, 2));
        }
        let long = format!("DELETE FROM users WHERE id IN ({})", "1, ".repeat(2000));
        assert_eq!(look(&long), (1, 2));
        for i in 0..1000 {
            let (writes, known) = look(&format!("DELETE FROM users WHERE id = {i}"));
            assert!(writes == 1 && known <= MAX_TEXTS, "{writes} {known}");
        }
    }
}
