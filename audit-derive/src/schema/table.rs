//! What the schema file says of one table.

use diesel_table_macro_syntax::TableDecl;
use syn::ext::IdentExt;
use syn::{Attribute, Ident};

/// A table, or a view.
pub(crate) struct Table {
    /// The modules in the file that it is in, and its own name in Rust.
    pub(crate) path: Vec<Ident>,
    /// Its name in SQL, with the PostgreSQL schema where it has one: `auth.users`.
    pub(crate) sql_name: String,
    pub(crate) is_view: bool,
    pub(crate) columns: Vec<Column>,
    /// The `#[cfg(…)]` that it stands under.
    pub(crate) cfgs: Vec<Attribute>,
}

pub(crate) struct Column {
    pub(crate) name: String,
    pub(crate) sql_name: String,
}

impl Table {
    pub(crate) fn new(decl: TableDecl, modules: &[Ident], is_view: bool) -> Self {
        let mut path = modules.to_vec();
        path.push(decl.table_name);
        let columns = decl.column_defs.into_iter().map(|column| Column {
            name: column.column_name.unraw().to_string(),
            sql_name: column.sql_name,
        });
        let sql_name = match &decl.schema {
            Some(schema) => format!("{}.{}", schema.unraw(), decl.sql_name),
            None => decl.sql_name,
        };
        Self {
            path,
            sql_name,
            is_view,
            columns: columns.collect(),
            cfgs: Vec::new(),
        }
    }

    /// How the lists name it: `users`, `auth::users`.
    pub(crate) fn name(&self) -> String {
        let names: Vec<_> = self.path.iter().map(|n| n.unraw().to_string()).collect();
        names.join("::")
    }

    /// Its name without the modules.
    pub(crate) fn last_name(&self) -> String {
        let last = self.path.last();
        last.map_or_else(String::new, |name| name.unraw().to_string())
    }
}
