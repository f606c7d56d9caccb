//! Reads the schema file, and the files of its modules.

use std::fs;
use std::path::{Path, PathBuf};

use diesel_table_macro_syntax::TableDecl;
use proc_macro2::{Span, TokenStream, TokenTree};
use syn::ext::IdentExt;
use syn::{Attribute, Expr, ExprLit, Ident, Item, ItemMacro, ItemMod, ItemUse, Lit, LitStr, Meta};

use crate::errors::Errors;
use crate::schema::imports::{self, Import, Known};
use crate::schema::table::Table;

/// Collects the tables of a file.
pub(crate) struct Reader {
    /// What paths are relative to.
    root: PathBuf,
    /// Where a mistake in a file is shown: the compiler knows no place in it.
    span: Span,
    complete: bool,
    /// The macros that take what Diesel's `table!` takes, and whether they make views of it.
    table_macros: Vec<(String, bool)>,
    /// Macros of the files by the name of Diesel's, which nobody vouches for. One message was
    /// enough.
    unknown_macros: Vec<String>,
    /// Names of Diesel's macros that are those of other macros, or only of a table's own type
    /// `table`: which, is known when all tables are.
    namesakes: Vec<Import>,
    /// What the files have from elsewhere.
    imports: Vec<Import>,
    /// The modules that were read.
    modules: Vec<Vec<String>>,
    /// The files that were read, as they are named.
    pub(crate) files: Vec<String>,
    pub(crate) tables: Vec<Table>,
}

/// The place in the files where the reader is.
struct Place<'a> {
    /// The file, as it is named.
    file: &'a str,
    /// The folder in which a module's own file is looked for.
    folder: PathBuf,
    /// What a module's `#[path]` starts at.
    path_folder: PathBuf,
    modules: Vec<Ident>,
    cfgs: Vec<Attribute>,
}

impl Reader {
    /// A reader of files below `root`, to which the macros of these names are Diesel's `table!` too.
    pub(crate) fn new(root: PathBuf, span: Span, table_macros: Vec<String>) -> Self {
        Self {
            root,
            span,
            complete: true,
            table_macros: table_macros
                .into_iter()
                .map(|name| (name.clone(), name == "view"))
                .collect(),
            unknown_macros: Vec::new(),
            namesakes: Vec::new(),
            imports: Vec::new(),
            modules: Vec::new(),
            files: Vec::new(),
            tables: Vec::new(),
        }
    }

    /// Whether all there is could be read.
    pub(crate) fn is_complete(&self) -> bool {
        self.complete
    }

    /// Reads the schema's file, which is the module at `path`.
    pub(crate) fn read(&mut self, file: &str, path: &[String], errors: &mut Errors) {
        self.read_file(file, module_folder(file), vec![], vec![], errors);
        self.check_imports(path, errors);
    }

    fn check_imports(&mut self, path: &[String], errors: &mut Errors) {
        let names = |table: &Table| table.path.iter().map(|n| n.unraw().to_string()).collect();
        let known = Known {
            modules: self.modules.clone(),
            tables: self.tables.iter().map(names).collect(),
        };
        for import in std::mem::take(&mut self.namesakes) {
            if !import.is_in_table(path, &known) {
                self.unknown_macro(import.name, &import.file, errors);
            }
        }
        for import in std::mem::take(&mut self.imports) {
            if import.may_bring_tables(path, &known) {
                self.fail(unknown_import(&import), errors);
            }
        }
    }

    fn fail(&mut self, message: String, errors: &mut Errors) {
        self.complete = false;
        errors.at(self.span, message);
    }

    fn read_file(
        &mut self,
        file: &str,
        folder: PathBuf,
        modules: Vec<Ident>,
        cfgs: Vec<Attribute>,
        errors: &mut Errors,
    ) {
        let text = match fs::read_to_string(self.root.join(file)) {
            Ok(text) => text,
            Err(error) => {
                let message = format!(
                    "{file} cannot be read ({}): the path starts at the folder of the crate's Cargo.toml",
                    reason(&error)
                );
                return self.fail(message, errors);
            }
        };
        self.files.push(file.to_owned());
        match syn::parse_file(&text) {
            Ok(content) => {
                let place = Place {
                    file,
                    folder,
                    path_folder: beside(file),
                    modules,
                    cfgs,
                };
                self.items(content.items, &place, errors);
            }
            Err(error) => self.fail(format!("{file} is no valid Rust: {error}"), errors),
        }
    }

    fn items(&mut self, items: Vec<Item>, place: &Place<'_>, errors: &mut Errors) {
        // A name holds in the whole module, also before the line that brings it.
        for item in &items {
            match item {
                Item::Use(item) => self.imports_of(item, place),
                Item::Macro(item) if item.mac.path.is_ident("macro_rules") => {
                    self.macro_rules(item, place, errors);
                }
                _ => {}
            }
        }
        for item in items {
            match item {
                Item::Mod(module) => self.module(module, place, errors),
                Item::Macro(item) => self.macro_call(&item, place, errors),
                _ => {}
            }
        }
    }

    fn imports_of(&mut self, item: &ItemUse, place: &Place<'_>) {
        for import in imports::of(item, place.file, &place.modules) {
            if let Some(is_view) = import.diesels_macro() {
                self.table_macros.push((import.name, is_view));
            } else if import.hides_diesels_macro() {
                self.namesakes.push(import);
            } else {
                self.imports.push(import);
            }
        }
    }

    fn module(&mut self, module: ItemMod, place: &Place<'_>, errors: &mut Errors) {
        let mut modules = place.modules.clone();
        modules.push(module.ident.clone());
        self.modules
            .push(modules.iter().map(|m| m.unraw().to_string()).collect());
        let cfgs = with_cfgs(place, &module.attrs);
        let name = module.ident.unraw().to_string();
        if module.attrs.iter().any(is_conditional_path) {
            let message = format!(
                "the file of `mod {name}` in {} depends on a `cfg_attr`, and is not known here: \
                 write a module with a `#[path]` for each `#[cfg]`",
                place.file
            );
            return self.fail(message, errors);
        }
        let path = path_attribute(&module.attrs);
        match module.content {
            Some((_, items)) => {
                let folder = match path {
                    Some(path) => place.path_folder.join(path),
                    None => place.folder.join(name),
                };
                let inner = Place {
                    file: place.file,
                    path_folder: folder.clone(),
                    folder,
                    modules,
                    cfgs,
                };
                self.items(items, &inner, errors);
            }
            None => match self.file_of(&name, path, place) {
                Some((file, folder)) => self.read_file(&file, folder, modules, cfgs, errors),
                None => self.no_file(&name, place, errors),
            },
        }
    }

    /// The file of `mod name;`, and the folder of its own modules.
    fn file_of(
        &self,
        name: &str,
        path: Option<String>,
        place: &Place<'_>,
    ) -> Option<(String, PathBuf)> {
        let candidates = match path {
            // A file that is named so has its modules beside itself.
            Some(path) => {
                let file = place.path_folder.join(path);
                vec![(file.clone(), beside(&shown(&file)))]
            }
            None => {
                let folder = place.folder.join(name);
                vec![
                    (place.folder.join(format!("{name}.rs")), folder.clone()),
                    (folder.join("mod.rs"), folder),
                ]
            }
        };
        let found = candidates
            .into_iter()
            .find(|(file, _)| self.root.join(file).is_file());
        found.map(|(file, folder)| (shown(&file), folder))
    }

    fn no_file(&mut self, name: &str, place: &Place<'_>, errors: &mut Errors) {
        let (file, folder) = (place.file, shown(&place.folder));
        let message = format!(
            "`mod {name};` of {file} has no file: neither {folder}/{name}.rs nor {folder}/{name}/mod.rs is there"
        );
        self.fail(message, errors);
    }

    /// A macro of the file, which may be called in Diesel's place, or write tables.
    fn macro_rules(&mut self, item: &ItemMacro, place: &Place<'_>, errors: &mut Errors) {
        let Some(name) = item.ident.as_ref().map(|name| name.unraw().to_string()) else {
            return;
        };
        let is_diesels = matches!(name.as_str(), "table" | "view");
        if is_diesels || writes_tables(item.mac.tokens.clone()) {
            self.unknown_macro(name, place.file, errors);
        }
    }

    /// Refuses a macro that may write tables, unless somebody vouches for it.
    fn unknown_macro(&mut self, name: String, file: &str, errors: &mut Errors) {
        if self.vouched(&name).is_some() || self.unknown_macros.contains(&name) {
            return;
        }
        let message = format!(
            "the macro `{name}!` of {file} writes tables, which cannot be seen from outside: write each \
             `diesel::table!` out there, or, if it takes what `diesel::table!` takes, one table a \
             call, vouch for it with `table_macros: [{name}]` here"
        );
        self.unknown_macros.push(name);
        self.fail(message, errors);
    }

    fn macro_call(&mut self, item: &ItemMacro, place: &Place<'_>, errors: &mut Errors) {
        let Some(name) = item.mac.path.segments.last() else {
            return;
        };
        let name = name.ident.to_string();
        let is_path = item.mac.path.segments.len() > 1;
        match name.as_str() {
            "macro_rules" => {}
            _ if !is_path && self.unknown_macros.contains(&name) => {}
            "include" => self.include(item, place, errors),
            // By its path, `diesel::table!` is Diesel's whatever else has the name.
            _ if self.vouched(&name).is_some()
                && !(is_path && matches!(name.as_str(), "table" | "view")) =>
            {
                let is_view = self.vouched(&name) == Some(true);
                self.table(item, place, is_view, errors);
            }
            "table" => self.table(item, place, false, errors),
            "view" => self.table(item, place, true, errors),
            _ if writes_tables(item.mac.tokens.clone())
                || item.mac.parse_body::<TableDecl>().is_ok() =>
            {
                self.unknown_macro(name, place.file, errors);
            }
            _ => {}
        }
    }

    /// Whether what is written by this macro is known, and a view.
    fn vouched(&self, name: &str) -> Option<bool> {
        let mut macros = self.table_macros.iter();
        macros
            .find(|(known, _)| known == name)
            .map(|(_, is_view)| *is_view)
    }

    fn table(&mut self, item: &ItemMacro, place: &Place<'_>, is_view: bool, errors: &mut Errors) {
        match item.mac.parse_body::<TableDecl>() {
            Ok(decl) => {
                let mut table = Table::new(decl, &place.modules, is_view);
                table.cfgs = with_cfgs(place, &item.attrs);
                self.tables.push(table);
            }
            Err(_)
                if self
                    .namesakes
                    .iter()
                    .any(|import| item.mac.path.is_ident(&import.name)) =>
            {
                // Not Diesel's macro, as is said in the end.
            }
            Err(error) => {
                let head: Vec<_> = item.mac.tokens.clone().into_iter().take(6).collect();
                let head: TokenStream = head.into_iter().collect();
                let message = format!(
                    "a table of {} cannot be read: {error} in `table! {{ {head} … }}`",
                    place.file
                );
                self.fail(message, errors);
            }
        }
    }

    fn include(&mut self, item: &ItemMacro, place: &Place<'_>, errors: &mut Errors) {
        match item.mac.parse_body::<LitStr>() {
            Ok(path) => {
                let file = shown(&beside(place.file).join(path.value()));
                let cfgs = with_cfgs(place, &item.attrs);
                self.read_file(&file, beside(&file), place.modules.clone(), cfgs, errors);
            }
            Err(_) => {
                let message = format!(
                    "an `include!` of {} names no file that can be seen from here: name that file \
                     as the schema, or write a path in quotes there",
                    place.file
                );
                self.fail(message, errors);
            }
        }
    }
}

fn unknown_import(import: &Import) -> String {
    let (text, file) = (import.text(), &import.file);
    format!(
        "`pub use {text}` of {file} may bring tables that stand in another file, and nobody sees \
         which: write the tables in {file} or in a module of it, or name the types that are meant \
         one by one; for tables of elsewhere, call `audit_schema!` with their file as well and take \
         the `pub` away here"
    )
}

/// Whether the module's file is another one under some condition.
fn is_conditional_path(attr: &Attribute) -> bool {
    let says_path = |tokens: TokenStream| {
        tokens
            .into_iter()
            .any(|token| matches!(token, TokenTree::Ident(ident) if ident == "path"))
    };
    match &attr.meta {
        Meta::List(list) => list.path.is_ident("cfg_attr") && says_path(list.tokens.clone()),
        _ => false,
    }
}

fn with_cfgs(place: &Place<'_>, attrs: &[Attribute]) -> Vec<Attribute> {
    let own = attrs.iter().filter(|attr| attr.path().is_ident("cfg"));
    place.cfgs.iter().chain(own).cloned().collect()
}

/// Whether `table!` or `view!` is called anywhere within.
fn writes_tables(tokens: TokenStream) -> bool {
    let mut after_table = false;
    tokens.into_iter().any(|token| {
        let found = match &token {
            TokenTree::Group(group) => writes_tables(group.stream()),
            TokenTree::Punct(punct) => after_table && punct.as_char() == '!',
            _ => false,
        };
        after_table = matches!(&token, TokenTree::Ident(i) if i == "table" || i == "view");
        found
    })
}

/// What `#[path = "…"]` says.
fn path_attribute(attrs: &[Attribute]) -> Option<String> {
    attrs.iter().find_map(|attr| match &attr.meta {
        Meta::NameValue(meta) if meta.path.is_ident("path") => match &meta.value {
            Expr::Lit(ExprLit {
                lit: Lit::Str(path),
                ..
            }) => Some(path.value()),
            _ => None,
        },
        _ => None,
    })
}

fn beside(file: &str) -> PathBuf {
    Path::new(file)
        .parent()
        .map(Path::to_path_buf)
        .unwrap_or_default()
}

/// Where the files of a file's modules are: beside `mod.rs`, and else in a folder of its name.
fn module_folder(file: &str) -> PathBuf {
    let path = Path::new(file);
    match path.file_stem().and_then(|stem| stem.to_str()) {
        Some("mod" | "lib" | "main") | None => beside(file),
        Some(stem) => beside(file).join(stem),
    }
}

fn shown(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

/// Why a file cannot be read, in the same words on every system.
fn reason(error: &std::io::Error) -> String {
    use std::io::ErrorKind;

    match error.kind() {
        ErrorKind::NotFound => "there is no such file".to_owned(),
        ErrorKind::PermissionDenied => "permission denied".to_owned(),
        ErrorKind::InvalidData => "it is not UTF-8".to_owned(),
        ErrorKind::IsADirectory => "it is a folder".to_owned(),
        _ => error.to_string(),
    }
}
