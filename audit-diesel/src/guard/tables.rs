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
    pub(crate) fn new<'a>(names: impl IntoIterator<Item = &'a str>) -> Self {
        let names: HashSet<String> = names.into_iter().map(str::to_lowercase).collect();
        let last = |name: &String| name.rsplit('.').next().unwrap_or_default().to_owned();
        Self {
            last_parts: names.iter().map(last).collect(),
            names,
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
        let parts: Vec<String> = parts.iter().map(|part| part.to_lowercase()).collect();
        let candidate = match parts.as_slice() {
            [] => return None,
            [.., schema, table] if DEFAULT_SCHEMAS.contains(&schema.as_str()) => table.clone(),
            [.., schema, table] => format!("{schema}.{table}"),
            [table] => table.clone(),
        };
        self.names.get(&candidate).cloned()
    }
}
