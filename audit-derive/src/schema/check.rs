//! Holds the lists against the tables: each table is in one of them, once.

use std::collections::{HashMap, HashSet};

use proc_macro2::Span;
use syn::{LitStr, Type};

use crate::errors::Errors;
use crate::schema::input::{Entry, Input, Schema};
use crate::schema::table::Table;
use crate::typing;

/// Up to here each undecided table has a message of its own. More are the first contact with a
/// grown schema, and get one list to copy.
const SINGLE_MESSAGES: usize = 5;

/// The entries of the lists, with their tables.
#[derive(Default)]
pub(crate) struct Lists<'a> {
    pub(crate) audited: Vec<Audited<'a>>,
    pub(crate) exempt: Vec<Exempt<'a>>,
}

pub(crate) struct Audited<'a> {
    pub(crate) table: &'a Table,
    pub(crate) model: &'a Type,
    pub(crate) span: Span,
}

pub(crate) struct Exempt<'a> {
    pub(crate) table: &'a Table,
    pub(crate) reason: String,
}

/// What has been found on the way through the lists.
struct Checker<'a> {
    tables: &'a [Table],
    path: String,
    /// The list that a table, by its number, is in.
    listed: HashMap<usize, &'static str>,
    /// Tables that a misspelt entry seems to mean.
    meant: Vec<usize>,
}

impl<'a> Lists<'a> {
    pub(crate) fn check(
        input: &'a Input,
        schema: &Schema,
        tables: &'a [Table],
        errors: &mut Errors,
    ) -> Self {
        let mut lists = Self::default();
        let mut checker = Checker {
            tables,
            path: schema.path.value(),
            listed: HashMap::new(),
            meant: Vec::new(),
        };
        for entry in &input.audited {
            let tables = checker.tables(entry, "audited", errors);
            lists.audited(&tables, entry, &checker.path, errors);
        }
        for entry in &input.exempt {
            let tables = checker.tables(entry, "exempt", errors);
            lists.exempt(&tables, entry, errors);
        }
        checker.undecided(schema.path.span(), errors);
        lists
    }

    fn audited(
        &mut self,
        tables: &[&'a Table],
        entry: &'a Entry<Type>,
        path: &str,
        errors: &mut Errors,
    ) {
        let (name, span) = (entry.name(), entry.span());
        if tables.iter().any(|table| table.is_view) {
            let message = format!(
                "`{name}` is a view in {path}, and only tables are written: remove it here, and \
                 audit the tables that it shows"
            );
            return errors.at(span, message);
        }
        let Some(model) = &entry.value else { return };
        let tables = tables.iter();
        self.audited
            .extend(tables.map(|table| Audited { table, model, span }));
    }

    fn exempt(&mut self, tables: &[&'a Table], entry: &'a Entry<LitStr>, errors: &mut Errors) {
        let Some(reason) = &entry.value else { return };
        let text = reason.value();
        if text.trim().is_empty() && !tables.is_empty() {
            let name = entry.name();
            let message =
                format!("why is `{name}` not audited? the reason is empty: write it here");
            return errors.at(reason.span(), message);
        }
        self.exempt.extend(tables.iter().map(|table| Exempt {
            table,
            reason: text.clone(),
        }));
    }
}

impl<'a> Checker<'a> {
    /// The tables of an entry, where it has any that no other entry has. Several are one table that
    /// is declared for several `#[cfg]`s.
    fn tables<T>(
        &mut self,
        entry: &Entry<T>,
        list: &'static str,
        errors: &mut Errors,
    ) -> Vec<&'a Table> {
        let name = entry.name();
        let all = self.tables.iter().enumerate();
        let found: Vec<_> = all.filter(|(_, table)| table.name() == name).collect();
        if found.is_empty() {
            self.unknown(entry, errors);
        }
        for (i, _) in &found {
            if let Some(first) = self.listed.insert(*i, list) {
                errors.at(entry.span(), listed_twice(&name, first, list));
                return vec![];
            }
        }
        found.into_iter().map(|(_, table)| table).collect()
    }

    fn unknown<T>(&mut self, entry: &Entry<T>, errors: &mut Errors) {
        let (name, path) = (entry.name(), &self.path);
        let hint = match self.nearest(&name) {
            Some(near) => {
                self.meant.push(near);
                format!("did you mean `{}`?", self.tables[near].name())
            }
            None => "remove it, or run `diesel print-schema` if the table is new".to_owned(),
        };
        errors.at(
            entry.span(),
            format!("{path} has no table `{name}`: {hint}"),
        );
    }

    /// The table that was probably meant: the same one in another module or by its SQL name, or
    /// the least typing mistakes away.
    fn nearest(&self, name: &str) -> Option<usize> {
        let last = name.rsplit("::").next().unwrap_or(name);
        let position = |is: &dyn Fn(&Table) -> bool| self.tables.iter().position(is);
        position(&|table| table.sql_name == name.replace("::", "."))
            .or_else(|| position(&|table| table.last_name() == last))
            .or_else(|| {
                let names: Vec<String> = self.tables.iter().map(Table::name).collect();
                let near = typing::nearest(name, names.iter().map(String::as_str))?;
                names.iter().position(|name| name == near)
            })
    }

    fn undecided(&self, span: Span, errors: &mut Errors) {
        let mut undecided: Vec<&Table> = self
            .tables
            .iter()
            .enumerate()
            .filter(|(i, table)| {
                !table.is_view && !self.listed.contains_key(i) && !self.meant.contains(i)
            })
            .map(|(_, table)| table)
            .collect();
        let mut names = HashSet::new();
        undecided.retain(|table| names.insert(table.name()));
        if undecided.len() > SINGLE_MESSAGES {
            return errors.at(span, all_undecided(&self.path, &undecided));
        }
        for table in undecided {
            errors.at(span, one_undecided(&self.path, table));
        }
    }
}

fn listed_twice(name: &str, first: &str, second: &str) -> String {
    if first == second {
        format!("`{name}` stands twice in `{first}`: remove one")
    } else {
        format!("`{name}` stands in `{first}` and in `{second}`: remove it from one of them")
    }
}

fn one_undecided(path: &str, table: &Table) -> String {
    let (name, model) = (table.name(), model_name(table));
    format!(
        "table `{name}` of {path} is in neither list: write `{name}: {model}`, or whatever its \
         model is, in `audited`, or `{name}: \"the reason\"` in `exempt`"
    )
}

fn all_undecided(path: &str, tables: &[&Table]) -> String {
    let lines = tables
        .iter()
        .map(|table| format!("\n    {}: \"not yet\",", table.name()));
    format!(
        "{} tables of {path} are in neither list: write each with its model in `audited`, or with \
         a reason in `exempt`; to begin with all of them there:{}",
        tables.len(),
        lines.collect::<String>()
    )
}

/// What the model of a table is usually called: `ApiKey` for `api_keys`.
fn model_name(table: &Table) -> String {
    let name = table.last_name();
    let singular = match name.strip_suffix("ies") {
        Some(stem) => format!("{stem}y"),
        None => name.strip_suffix('s').unwrap_or(&name).to_owned(),
    };
    let words = singular.split('_').filter(|word| !word.is_empty());
    words
        .map(|word| {
            let (first, rest) = word.split_at(word.chars().next().map_or(0, char::len_utf8));
            first.to_uppercase() + rest
        })
        .collect()
}
