//! What is compiled: tables of ten columns with their models.

use std::fmt::Write;
use std::path::Path;

/// A crate with nothing in it.
pub(super) const EMPTY: &str = "#![allow(dead_code)]\n";

pub(super) fn models(count: usize, derives: &str, audited: bool) -> String {
    let audited = if audited {
        ", audit_diesel::Auditable"
    } else {
        ""
    };
    let mut columns = String::new();
    let mut fields = String::new();
    for column in 0..9 {
        let _ = write!(columns, "column_{column} -> Text, ");
        let _ = write!(fields, "column_{column}: String, ");
    }
    let mut source = String::from("#![allow(dead_code)]\nuse diesel::prelude::*;\n");
    for model in 0..count {
        let _ = writeln!(
            source,
            "diesel::table! {{ table_{model} (id) {{ id -> BigInt, {columns} }} }}\n\
             #[derive({derives}{audited})]\n\
             #[diesel(table_name = table_{model})]\n\
             pub struct Model{model} {{ id: i64, {fields} }}"
        );
    }
    source
}

/// The lists of all tables of the crate `tables`, whose source this is.
pub(super) fn schema(tables_source: &Path, tables: usize, audited: bool) -> String {
    let entries: String = (0..tables)
        .map(|table| match audited {
            true => format!("table_{table}: tables::Model{table}, "),
            false => format!("table_{table}: \"a reason\", "),
        })
        .collect();
    let (audited, exempt) = if audited {
        (&*entries, "")
    } else {
        ("", &*entries)
    };
    format!(
        "{EMPTY}audit_diesel::audit_schema! {{ schema: {tables_source:?} => ::tables, \
         audited: {{ {audited} }}, exempt: {{ {exempt} }} }}\n"
    )
}
