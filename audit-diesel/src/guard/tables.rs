use std::collections::HashSet;

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

    pub(crate) fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    /// Whether this identifier could name one of them.
    pub(super) fn may_be(&self, identifier: &str) -> bool {
        if identifier.bytes().any(|byte| byte.is_ascii_uppercase()) {
            return self.last_parts.contains(&identifier.to_lowercase());
        }
        self.last_parts.contains(identifier)
    }

    /// The audited table that these parts (`["auth", "users"]`) name.
    pub(super) fn named_by(&self, parts: &[String]) -> Option<String> {
        canonical(parts).filter(|name| self.names.contains(name))
    }
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
