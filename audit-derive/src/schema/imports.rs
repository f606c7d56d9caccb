//! What the `use` lines of a schema bring into it: tables of elsewhere, and other macros by the name
//! of `table!`.

use syn::ext::IdentExt;
use syn::{Ident, ItemUse, UseTree, Visibility};

/// A name, or a `*`, that a module of the schema has from elsewhere.
pub(crate) struct Import {
    /// The file, as it is named.
    pub(crate) file: String,
    /// The modules that the line is in.
    modules: Vec<String>,
    /// What is named: `crate::other::users`, `other` for `other::*`.
    path: Vec<String>,
    is_glob: bool,
    /// What it is called here.
    pub(crate) name: String,
    /// Whether it can be named from outside of the module.
    pub(crate) is_public: bool,
}

/// What was read.
pub(crate) struct Known {
    pub(crate) modules: Vec<Vec<String>>,
    pub(crate) tables: Vec<Vec<String>>,
}

impl Known {
    /// Whether this is a module that was read, or a table, or something that Diesel puts into one.
    fn is(&self, path: &[String]) -> bool {
        path.is_empty()
            || self.modules.iter().any(|module| module == path)
            || self.tables.iter().any(|table| path.starts_with(table))
    }
}

/// The `use` lines of one item.
pub(crate) fn of(item: &ItemUse, file: &str, modules: &[Ident]) -> Vec<Import> {
    let line = Line {
        file,
        modules: modules.iter().map(|m| m.unraw().to_string()).collect(),
        is_public: !matches!(item.vis, Visibility::Inherited),
    };
    let mut imports = vec![];
    line.collect(&item.tree, &mut vec![], &mut imports);
    imports
}

struct Line<'a> {
    file: &'a str,
    modules: Vec<String>,
    is_public: bool,
}

impl Line<'_> {
    fn collect(&self, tree: &UseTree, path: &mut Vec<String>, imports: &mut Vec<Import>) {
        let text = |ident: &Ident| ident.unraw().to_string();
        match tree {
            UseTree::Path(inner) => {
                path.push(text(&inner.ident));
                self.collect(&inner.tree, path, imports);
                path.pop();
            }
            UseTree::Group(group) => {
                for tree in &group.items {
                    self.collect(tree, path, imports);
                }
            }
            UseTree::Glob(_) => imports.push(self.import(path.clone(), true, "*".to_owned())),
            UseTree::Name(leaf) => {
                let mut path = path.clone();
                // `other::{self}` is `other`.
                if leaf.ident != "self" {
                    path.push(text(&leaf.ident));
                }
                let name = path.last().cloned().unwrap_or_default();
                imports.push(self.import(path, false, name));
            }
            UseTree::Rename(leaf) => {
                let mut path = path.clone();
                if leaf.ident != "self" {
                    path.push(text(&leaf.ident));
                }
                imports.push(self.import(path, false, text(&leaf.rename)));
            }
        }
    }

    fn import(&self, path: Vec<String>, is_glob: bool, name: String) -> Import {
        Import {
            file: self.file.to_owned(),
            modules: self.modules.clone(),
            path,
            is_glob,
            name,
            is_public: self.is_public,
        }
    }
}

impl Import {
    /// Whether this is Diesel's `table!` or `view!`, by this name or another, and a view's.
    pub(crate) fn diesels_macro(&self) -> Option<bool> {
        let is_view = self.path.last().is_some_and(|name| name == "view");
        (self.is_of(&["diesel"]) && self.names_table_macro()).then_some(is_view)
    }

    /// Whether this may be another macro by the name of Diesel's.
    pub(crate) fn hides_diesels_macro(&self) -> bool {
        matches!(self.name.as_str(), "table" | "view")
            && self.names_table_macro()
            && !self.is_of(&["diesel"])
    }

    fn names_table_macro(&self) -> bool {
        matches!(self.path.last().map(String::as_str), Some("table" | "view"))
    }

    fn is_of(&self, crates: &[&str]) -> bool {
        self.path
            .first()
            .is_some_and(|name| crates.contains(&name.as_str()))
    }

    /// As it is written.
    pub(crate) fn text(&self) -> String {
        let path = self.path.join("::");
        match (self.is_glob, self.path.last() == Some(&self.name)) {
            (true, _) => format!("{path}::*"),
            (false, true) => path,
            (false, false) => format!("{path} as {}", self.name),
        }
    }

    /// Whether this may be a table that stands in none of the files. `root` is the schema's own path.
    pub(crate) fn may_bring_tables(&self, root: &[String], known: &Known) -> bool {
        let is_type = |name: &String| name.chars().next().is_some_and(char::is_uppercase);
        // A type, or all variants of one.
        let innocent =
            self.is_of(&["diesel", "std", "core", "alloc"]) || self.path.last().is_none_or(is_type);
        if !self.is_public || innocent {
            return false;
        }
        let Some(target) = self.in_schema(root) else {
            return true;
        };
        // Without `self`, the first name may be that of a crate.
        let from_here = matches!(self.path[0].as_str(), "crate" | "self" | "super");
        let begin = target.get(..=self.modules.len()).unwrap_or_default();
        // What is in a module that was read is known.
        let inside = target.split_last().map(|(_, module)| module);
        let is_known = known.is(&target) || (!self.is_glob && inside.is_some_and(|m| known.is(m)));
        !(is_known && (from_here || known.is(begin)))
    }

    /// Whether this is something that Diesel puts into a table: `users::table`. `root` is the schema's
    /// own path.
    pub(crate) fn is_in_table(&self, root: &[String], known: &Known) -> bool {
        let target = self.in_schema(root).unwrap_or_default();
        known.tables.iter().any(|table| target.starts_with(table))
    }

    /// The path within the schema, where it is one.
    fn in_schema(&self, root: &[String]) -> Option<Vec<String>> {
        let mut path = self.path.as_slice();
        let mut target = self.modules.clone();
        match path.first()?.as_str() {
            "crate" => {
                target = Vec::new();
                path = path.strip_prefix(root)?;
            }
            "self" => path = &path[1..],
            _ => {}
        }
        while path.first().is_some_and(|name| name == "super") {
            target.pop()?;
            path = &path[1..];
        }
        target.extend_from_slice(path);
        Some(target)
    }
}
