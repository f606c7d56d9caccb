use std::collections::HashSet;

use super::targets::Target;

/// The audited tables' names as SQL may write them.
#[derive(Debug, Clone, Default)]
pub(crate) struct GuardedTables {
    /// In lower case, with their schema where they have one: `users`, `auth.users`.
    names: HashSet<String>,
    /// The last part of each, for a quick look.
    last_parts: HashSet<String>,
}

/// Schemas that a table without one is in.
const DEFAULT_SCHEMAS: [&str; 2] = ["public", "main"];

impl GuardedTables {
    /// Adds tables, by their names in SQL.
    pub(crate) fn extend<'a>(&mut self, names: impl IntoIterator<Item = &'a str>) {
        for name in names {
            let parts: Vec<String> = name.split('.').map(str::to_owned).collect();
            let Some(name) = canonical(&parts) else {
                continue;
            };
            self.last_parts
                .extend(name.rsplit('.').next().map(str::to_owned));
            self.names.insert(name);
        }
    }

    /// Whether this identifier could name one of them, or of the trail's.
    pub(super) fn may_be(&self, identifier: &str) -> bool {
        if is_of_trail(identifier) {
            return true;
        }
        if identifier.bytes().any(|byte| byte.is_ascii_uppercase()) {
            return self.last_parts.contains(&identifier.to_lowercase());
        }
        self.last_parts.contains(identifier)
    }

    /// The audited table that this would write, or the trail's table that it would change.
    pub(super) fn written_by(&self, target: &Target) -> Option<String> {
        let table = target.parts.last()?;
        if is_of_trail(table) {
            return target.changes_rows.then(|| table.to_lowercase());
        }
        canonical(&target.parts).filter(|name| self.names.contains(name))
    }
}

/// The tables of the trail. They are in whichever schema the search path found when the migrations
/// ran. Rows are only ever added to them.
const TRAIL: [&str; 2] = ["audit_logs", "audit_quarantine"];

pub(super) fn is_of_trail(table: &str) -> bool {
    TRAIL.iter().any(|name| table.eq_ignore_ascii_case(name))
}

/// The name in lower case, with its schema where that is none of the default ones.
fn canonical(parts: &[String]) -> Option<String> {
    let parts: Vec<String> = parts.iter().map(|part| part.to_lowercase()).collect();
    match parts.as_slice() {
        [] => None,
        [.., schema, table] if !DEFAULT_SCHEMAS.contains(&schema.as_str()) => {
            Some(format!("{schema}.{table}"))
        }
        [.., table] => Some(table.clone()),
    }
}
